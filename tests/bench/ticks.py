"""What a tick costs on a large node, by source, and what a BMC that hangs does to it: make bench PARTS=ticks.

The node is a fixture: two sockets of 56 cores, 8 GPUs by the stand-in of NVIDIA's library, 100 workloads. Its
files are ordinary ones, so what the kernel and the driver do to make up real ones is not in the figures.
"""

from __future__ import annotations

import contextlib
import gc
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.host import read_host
from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.meters.series import energy_series
from joulebook.agent.sampler import Sampler
from joulebook.agent.settings import SourceSettings
from joulebook.agent.slow import Slow
from joulebook.agent.source import WORKING, Domain, Finding, Probe, Roots, Source
from joulebook.agent.sources import Sources, askers, probe_sources
from joulebook.agent.usage.beside import Beside
from joulebook.agent.workloads.workloads import Workloads
from joulebook.v1 import report_pb2
from tests.bench.rows import Row, row
from tests.fixtures.nvml.standin import Standin
from tests.fixtures.trees import build, roots_of, write

_GPUS = 8
# Of the first GPU's process.
_PID = 4_000_000
_WORKLOADS = 100
_LOGICAL_CPUS = 224
_TICKS = 20
_SETTLING = 6
_IO_EVERY = 5
# Of as many digits as what it grows to.
_BEGUN = 1 << 20
_READS = 100
# Ten a second for 30 s.
_HUNG_READS = 300
_S = 1_000_000


def node(directory: Path) -> Roots:
    """Make the large node's files."""
    roots = build("xeon-2s", directory)
    cgroups = directory / "cgroup"
    cgroups.mkdir()
    write(cgroups / "cgroup.controllers", "cpu io memory")
    for number in range(_WORKLOADS):
        group = cgroups / "system.slice" / f"unit{number}.service"
        write(group / "cpu.stat", f"usage_usec {_BEGUN}\nuser_usec {number}\nsystem_usec 0")
        write(group / "memory.current", 1 << 30)
        write(group / "io.stat", f"8:0 rbytes={_BEGUN} wbytes=4096 rios=1 wios=1 dbytes=0 dios=0")
    cpus = range(_LOGICAL_CPUS)
    for cpu in cpus:
        package = roots.sysfs / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id"
        write(package, cpu % 2)
    lines = [f"cpu{cpu} 51543 26 12345 956790 540 0 154 0 0 0" for cpu in cpus]
    total = "cpu  11545632 5824 2765280 214320960 120960 0 34496 0 0 0"
    write(roots.procfs / "stat", "\n".join((total, *lines, "intr 1 0", "ctxt 9", "btime 1717000000")))
    write(roots.procfs / "self/cgroup", "0::/")
    for number in range(_GPUS):
        write(roots.procfs / str(_PID + number) / "cgroup", f"0::/system.slice/unit{number}.service")
    write(roots.procfs / "self/statm", "100 50 1 1 1 1 1")
    return Roots(roots.procfs, roots.sysfs, cgroups, directory / "dev")


class HangingBmc:
    """A meter of the node whose BMC answered once and then no more."""

    name = "bmc"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self._power = HeldPower(3 * _S)
        self._asked = 0
        self._slow = Slow(self.name, self._ask, period_us=_S, timeout_us=5 * _S)

    def _ask(self) -> int:
        self._asked += 1
        if self._asked > 1:
            self.gate.wait()
        return 1_200_000

    def probe(self) -> Probe:
        """Find the node."""
        domain = Domain("node", self.name, report_pb2.SOURCE_KIND_AVERAGE_POWER, 1000, _S, 30_000)
        return Probe(energy_series(["node"]), (domain,), findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Take what came."""
        if (answer := self._slow.poll(now_us)) is not None:
            self._power.take(answer.value, answer.taken_us)
        self._power.advance(now_us)
        return self._power.energy_uj, self._power.unread_us

    def findings(self) -> tuple[Finding, ...]:
        """Tell of the hang."""
        return self._slow.finding(boot_us())

    def offsets_uj(self) -> tuple[int, ...]:
        """Have no hardware counter."""
        return (0,)

    def close(self) -> None:
        """Let it come back."""
        self.gate.set()
        self._slow.close()


@contextmanager
def _large_node() -> Iterator[tuple[Roots, Sources]]:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        standin = Standin(Path(directory), _GPUS)
        standin.install(patch)
        for number in range(_GPUS):
            standin.set(number, compute=_PID + number, samples=f"{_PID + number}:50:1")
        roots = node(Path(directory))
        sources = probe_sources(roots, SourceSettings(gauges=GaugesConfig()))
        try:
            yield roots, sources
        finally:
            sources.close()


def _times_us(call: Callable[[], object], count: int, rest_s: float) -> list[float]:
    """Return how long each of some calls took, with a rest between, in which others have the caches."""
    took = []
    for _ in range(count):
        began_ns = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - began_ns) / 1000)
        time.sleep(rest_s)
    return took


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def _sampler(roots: Roots, sources: Sources, workloads: Workloads) -> Sampler:
    return Sampler(
        "large",
        bytes(16),
        read_host(roots),
        sources.probed,
        sources.meters,
        workloads,
        lambda _report, _layout: None,
    )


def _rows_of(what: str, took: Sequence[float]) -> list[Row]:
    return [
        row(f"read of {what}: p50", "µs", statistics.median(took)),
        row(f"read of {what}: p99", "µs", _p99(took)),
    ]


class _Work:
    """Has workloads use something between two ticks: a file that stays as it is costs less to read.

    Each uses CPU time, every fifth does IO.
    """

    def __init__(self, cgroupfs: Path) -> None:
        self._fds = [
            (os.open(path / "cpu.stat", os.O_WRONLY), os.open(path / "io.stat", os.O_WRONLY))
            for path in sorted((cgroupfs / "system.slice").iterdir())
        ]
        self._turn = _BEGUN

    def go_on(self) -> int:
        """Use some; return the CPU time that this took itself, in ns."""
        began_ns = time.thread_time_ns()
        self._turn += 1
        for number, (cpu, io) in enumerate(self._fds):
            os.pwrite(cpu, f"usage_usec {self._turn}\n".encode(), 0)
            if number % _IO_EVERY == 0:
                os.pwrite(io, f"8:0 rbytes={self._turn} ".encode(), 0)
        return time.thread_time_ns() - began_ns

    def close(self) -> None:
        for pair in self._fds:
            for fd in pair:
                os.close(fd)


def _ticks(sampler: Sampler, work: _Work) -> list[Row]:
    """Return the CPU time of ticks that come once a second, of their own thread and of all."""
    sampler.start()
    # What is new is looked at more often for a while.
    for _ in range(_SETTLING):
        sampler.tick()
    # As the agent does once it has begun.
    gc.collect()
    gc.freeze()
    time.sleep(1)
    own_ns, work_ns, began_ns = 0, 0, time.process_time_ns()
    for _ in range(_TICKS):
        before_ns = time.thread_time_ns()
        sampler.tick()
        own_ns += time.thread_time_ns() - before_ns
        time.sleep(1)
        work_ns += work.go_on()
    all_us = (time.process_time_ns() - began_ns - work_ns) / 1000 / _TICKS
    what = f"{_GPUS} GPUs, 2 sockets, {_WORKLOADS} workloads"
    return [
        row(f"agent CPU a tick, {what}: the tick's thread", "µs", own_ns / 1000 / _TICKS, target=2000),
        row(f"agent CPU a tick, {what}: all threads", "µs", all_us, target=2000),
    ]


def _asked_beside() -> list[Row]:
    """Return what each question beside the tick takes, and a tick's look where there is nothing to ask."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        roots = build("storage", Path(directory))
        for asker, _, _ in askers(roots, SourceSettings()):
            if asker.is_there():
                devices = len(asker.ask().told)
                took = _times_us(asker.ask, _READS, 0.01)
                rows.append(
                    row(
                        f"{asker.name} beside the tick, {devices} devices: p50", "µs", statistics.median(took)
                    )
                )
    with tempfile.TemporaryDirectory() as directory:
        absent = [
            Beside(asker, period_us=_S, timeout_us=_S)
            for asker, _, _ in askers(Roots(Path(directory), Path(directory)), SourceSettings())
        ]
        for one in absent:
            one.probe()
        now_us = boot_us()

        def look() -> None:
            for one in absent:
                one.read(now_us)
                one.findings()
                one.changed()

        rows.append(
            row(
                f"{len(absent)} absent sources, a tick: p50",
                "µs",
                statistics.median(_times_us(look, _READS, 0)),
            )
        )
    return rows


def _hanging_gpu() -> Row:
    """Return the longest that a tick is held up by GPUs one of which begins to hang, and hangs on."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        standin = Standin(Path(directory), _GPUS)
        standin.install(patch)
        meter = NvmlMeter(roots_of(Path(directory)))
        meter.probe()

        def tick() -> None:
            now_us = boot_us()
            for gpu in meter.gpus:
                with contextlib.suppress(OSError):
                    gpu.processes(now_us)
            meter.read(now_us)

        _times_us(tick, 10, 0.1)
        standin.put({"1.hang.nvmlDeviceGetTotalEnergyConsumption": 1})
        took = _times_us(tick, _READS, 0.1)
        standin.put({"1.hang.nvmlDeviceGetTotalEnergyConsumption": 0})
        meter.close()
    return row(f"read of {_GPUS} GPUs one of which hangs: longest", "µs", max(took), target=5000)


def measure() -> list[Row]:
    """Return the CPU of a tick, what each source's reads take, and the longest while a BMC hangs."""
    with _large_node() as (roots, sources):
        workloads = Workloads(roots, gpus=sources.gpus)
        work = _Work(roots.cgroupfs)
        rows = _ticks(_sampler(roots, sources, workloads), work)
        work.close()
        for source, probe in sources.each:
            if probe.series:
                took = _times_us(partial(_read, source), _READS, 0.01)
                rows += _rows_of(f"{source.name}, {len(probe.series)} series", took)
        rows += _rows_of(f"{_WORKLOADS} workloads", _times_us(partial(_read, workloads), _READS, 0.01))
        workloads.close()
    rows += _asked_beside()
    bmc = HangingBmc()
    bmc.read(boot_us())
    took = _times_us(lambda: (bmc.read(boot_us()), bmc.findings()), _HUNG_READS, 0.1)
    bmc.close()
    rows.append(row("read of a BMC that hangs for 30 s: longest", "µs", max(took), target=5000))
    rows.append(_hanging_gpu())
    return rows


def _read(source: Source | Workloads) -> None:
    source.read(boot_us())
