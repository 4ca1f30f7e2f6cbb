"""What a read of each source takes, median and 99th percentile: make bench PARTS=sources.

Sources of files read a fixture's, so what kernel, firmware and drivers do to make up real ones is not in the
figures; GPUs' libraries are stand-ins; services answer on loopback. What is asked beside the tick holds no
tick up: its figures are how long a question takes, and the agent's own CPU time of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.amdgpu import AmdGpuMeter
from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.meters.tpu_runtime import Runtime
from joulebook.agent.settings import SourceSettings
from joulebook.agent.sources import askers, probe_sources
from joulebook.agent.usage.beside import Asker
from joulebook.agent.usage.ceph import CephConfig, CephDaemons
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.hdfs import HdfsConfig, HdfsDaemons
from joulebook.agent.usage.smart import NO_DATABASE
from joulebook.agent.usage.smartctl import Smartctl
from tests.bench.reads import rows_of, times_us
from tests.bench.rows import Row, row
from tests.fixtures.amd.node import AmdNode
from tests.fixtures.trees import build
from tests.servers.ceph import ceph
from tests.servers.jmx import recorded, serving
from tests.servers.programs import program
from tests.servers.tpu_runtime import runtime

_READS, _REST_S = 200, 0.01
_PROCESSES = 100
_GPUS = 8
# Each source is taken of the first node that has it.
_TREES = ("xeon-2s", "cray-ex", "grace", "intel-gpus", "laptop-battery", "altra", "power9")
_AT_TICKS = SourceSettings(gauges=GaugesConfig(reads_per_s=0))


def _of_trees() -> Iterator[Row]:
    for kind in _TREES:
        with tempfile.TemporaryDirectory() as directory:
            sources = probe_sources(build(kind, Path(directory)), _AT_TICKS)
            for source, probe in sources.each:
                # hwmon is another thing on each of them.
                is_new = kind == _TREES[0] or source.name in ("pm_counters", "battery", "hwmon")
                if probe.series and is_new:

                    def read(source: object = source) -> None:
                        source.read(boot_us())  # type: ignore[attr-defined]

                    what = f"{source.name} ({kind}), {len(probe.series)} series"
                    yield from rows_of(what, times_us(read, _READS, _REST_S))
            sources.close()


def _of_amd_files() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        meter = AmdGpuMeter(AmdNode(Path(directory), _GPUS).roots)
        series = len(meter.probe().series)
        took = times_us(lambda: meter.read(boot_us()), _READS, _REST_S)
        meter.close()
    yield from rows_of(f"amdgpu, {_GPUS} GPUs, {series} series", took)


def _of_libraries() -> Iterator[Row]:
    for name in ("nvml", "amdsmi"):
        command = [sys.executable, "-m", f"tests.bench.{name}_cost", str(_GPUS)]
        cost = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        what = f"{name}, {_GPUS} stand-in GPUs, {cost['series']} series"
        yield row(f"read of {what}: p50", "µs", cost["read_p50_us"])
        yield row(f"read of {what}: p99", "µs", cost["read_p99_us"])
        yield row(f"read of {what}: CPU of all threads", "µs", cost["read_cpu_us"])


def _of_smartctl() -> Iterator[Row]:
    """What a question about a disk takes smartctl, a process: of a file, which refuses once it is asked."""
    smartctl = Smartctl(program("smartctl", package="smartmontools"))
    with tempfile.NamedTemporaryFile() as file:
        for what, options in (("power mode", NO_DATABASE), ("SMART figures", ("-A", "-H"))):
            arguments = ("--json=o", "-n", "idle,3,5", "-i", "-d", "sat", *options, file.name)
            began_s = _children_s()
            took = times_us(partial(smartctl.run, arguments), _PROCESSES, _REST_S)
            used_us = (_children_s() - began_s) * 1e6 / _PROCESSES
            yield from rows_of(f"smart, {what} of a disk that refuses, beside the tick", took)
            yield row(f"read of smart, {what}, beside the tick: CPU of smartctl", "µs", used_us)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _asked() -> Iterator[list[tuple[str, Callable[[], object]]]]:
    """Yield every question that is asked beside the tick, of files or of services on loopback."""

    def question(asker: Asker) -> tuple[str, Callable[[], object]]:
        return f"{asker.name}, {len(asker.ask().told)} devices", asker.ask

    with (
        tempfile.TemporaryDirectory() as directory,
        ceph() as cluster,
        serving(recorded("datanode")) as url,
        runtime() as (_, address),
    ):
        roots = build("storage", Path(directory))
        of_files = [
            asker
            for asker, _, _ in askers(roots, SourceSettings(), DiskUsage(roots), DiskRest(0))
            if asker.is_there()
        ]
        daemons: list[Asker] = [
            CephDaemons(CephConfig(sockets=str(cluster.directory))),
            HdfsDaemons(HdfsConfig(urls=[url])),
        ]
        tpu = Runtime(address)
        yield [question(asker) for asker in (*of_files, *daemons)] + [("tpu", tpu.ask)]
        tpu.close()


def measure() -> list[Row]:
    """Return the rows of every source."""
    rows = [*_of_trees(), *_of_amd_files(), *_of_libraries(), *_of_smartctl()]
    with _asked() as questions:
        for what, ask in questions:
            began_ns = time.thread_time_ns()
            took = times_us(ask, _READS, _REST_S)
            own_us = (time.thread_time_ns() - began_ns) / 1000 / _READS
            rows += rows_of(f"{what}, beside the tick", took)
            rows.append(row(f"read of {what}, beside the tick: CPU of the agent", "µs", own_us))
    return rows
