"""What a tick costs on a large node, by source, and what a BMC that hangs does to it: make bench PARTS=ticks.

The node is a fixture: two sockets of 56 cores, 8 GPUs by the stand-in of NVIDIA's library, 100 workloads. Its
files are ordinary ones, so what the kernel and the driver do to make up real ones is not in the figures.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.host import read_host
from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.sampler import Sampler
from joulebook.agent.settings import SourceSettings
from joulebook.agent.source import Roots, Source
from joulebook.agent.sources import Sources, askers
from joulebook.agent.usage.beside import Beside
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.workloads.workloads import Workloads
from tests.bench.large_node import GPUS, WORKLOADS, HangingBmc, Work, large_node
from tests.bench.reads import rows_of, times_us
from tests.bench.rows import Row, row
from tests.fixtures.nvml.standin import Standin
from tests.fixtures.trees import roots_of

_TICKS = 20
_SETTLING = 6
_READS = 100
# Ten a second for 30 s.
_HUNG_READS = 300
_S = 1_000_000


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


def _ticks(sampler: Sampler, work: Work) -> list[Row]:
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
    what = f"{GPUS} GPUs, 2 sockets, {WORKLOADS} workloads"
    return [
        row(f"agent CPU a tick, {what}: the tick's thread", "µs", own_ns / 1000 / _TICKS, target=2000),
        row(f"agent CPU a tick, {what}: all threads", "µs", all_us, target=2000),
    ]


def _absent() -> Row:
    """Return what a tick's look takes where there is nothing to ask beside it."""
    with tempfile.TemporaryDirectory() as directory:
        roots = Roots(Path(directory), Path(directory))
        absent = [
            Beside(asker, period_us=_S, timeout_us=_S)
            for asker, _, _ in askers(roots, SourceSettings(), DiskUsage(roots), DiskRest(0))
        ]
        for one in absent:
            one.probe()
        now_us = boot_us()

        def look() -> None:
            for one in absent:
                one.read(now_us)
                one.findings()
                one.changed()

        took = times_us(look, _READS, 0)
    return row(f"{len(absent)} absent sources, a tick: p50", "µs", statistics.median(took))


def _hanging_gpu() -> Row:
    """Return the longest that a tick is held up by GPUs one of which begins to hang, and hangs on."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        standin = Standin(Path(directory), GPUS)
        standin.install(patch)
        meter = NvmlMeter(roots_of(Path(directory)))
        meter.probe()

        def tick() -> None:
            now_us = boot_us()
            for gpu in meter.gpus:
                with contextlib.suppress(OSError):
                    gpu.processes(now_us)
            meter.read(now_us)

        times_us(tick, 10, 0.1)
        standin.put({"1.hang.nvmlDeviceGetTotalEnergyConsumption": 1})
        took = times_us(tick, _READS, 0.1)
        standin.put({"1.hang.nvmlDeviceGetTotalEnergyConsumption": 0})
        meter.close()
    return row(f"read of {GPUS} GPUs one of which hangs: longest", "µs", max(took), target=5000)


def measure() -> list[Row]:
    """Return the CPU of a tick, what each source's reads take, and the longest while a BMC hangs."""
    with large_node() as (roots, sources):
        workloads = Workloads(roots, gpus=sources.gpus, disks=sources.disks)
        work = Work(roots.cgroupfs)
        rows = _ticks(_sampler(roots, sources, workloads), work)
        work.close()
        for source, probe in sources.each:
            if probe.series:
                took = times_us(partial(_read, source), _READS, 0.01)
                rows += rows_of(f"{source.name}, {len(probe.series)} series", took)
        rows += rows_of(f"{WORKLOADS} workloads", times_us(partial(_read, workloads), _READS, 0.01))
        workloads.close()
    rows.append(_absent())
    bmc = HangingBmc()
    bmc.read(boot_us())
    took = times_us(lambda: (bmc.read(boot_us()), bmc.findings()), _HUNG_READS, 0.1)
    bmc.close()
    rows.append(row("read of a BMC that hangs for 30 s: longest", "µs", max(took), target=5000))
    rows.append(_hanging_gpu())
    return rows


def _read(source: Source | Workloads) -> None:
    source.read(boot_us())
