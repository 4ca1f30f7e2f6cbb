"""What telling and booking IO disk by disk costs, beside telling it in all: make bench PARTS=by_disk."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from joulebook.agent.host import read_host
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Roots
from joulebook.agent.sources import Sources, probe_sources
from joulebook.agent.workloads.workloads import Workloads
from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import report_pb2
from joulebook.v1.metrics_pb2 import METRIC_WORKLOAD_DISK_IO
from joulebook.v1.naming import layout_hash
from tests.bench.large_node import WORKLOADS, node
from tests.bench.rows import Row, row
from tests.fixtures.trees import write
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

_NUMBERS = {"nvme0n1": "259:0", "sda": "8:0", "sdb": "8:16"}
_TICKS, _SETTLING = 150, 10
_NODES, _ROUNDS = 200, 7
_BEGUN = 1 << 30
_MIB = 1 << 20


class _Agent:
    """An agent's sampler on the large node's files, and the last Report of it."""

    def __init__(self, roots: Roots, *, by_disk: bool) -> None:
        self.sources: Sources = probe_sources(roots)
        self.workloads = Workloads(roots, disks=self.sources.disks if by_disk else None)
        self.report_bytes = 0
        self.took_us: list[float] = []
        self._sampler = Sampler(
            "large",
            bytes(16),
            read_host(roots),
            self.sources.probed,
            self.sources.meters,
            self.workloads,
            self._keep,
        )
        self._sampler.start()

    def tick(self) -> None:
        """Have it read, and note the CPU time."""
        began_ns = time.thread_time_ns()
        self._sampler.tick()
        self.took_us.append((time.thread_time_ns() - began_ns) / 1000)

    def close(self) -> None:
        """Give all back."""
        self.workloads.close()
        self.sources.close()

    def _keep(self, report: report_pb2.Report, layout: bytes) -> None:
        del layout
        self.report_bytes = report.ByteSize()


def _move(groups: Sequence[Path], turn: int) -> None:
    """Have workloads use CPU time and move a MiB on each of two disks."""
    for group in groups:
        moved = _BEGUN + turn * _MIB
        (group / "cpu.stat").write_bytes(b"usage_usec %d\nuser_usec 1\nsystem_usec 0\n" % moved)
        lines = [f"{_NUMBERS[disk]} rbytes={moved} wbytes=0 rios=1 wios=1" for disk in ("sda", "nvme0n1")]
        write(group / "io.stat", "\n".join(lines))


def _ticks(moving: int) -> list[Row]:
    """Return the CPU time of ticks of both agents in turn, with so many workloads at IO."""
    with tempfile.TemporaryDirectory() as directory:
        roots = node(Path(directory))
        for disk, number in _NUMBERS.items():
            block = roots.sysfs / "block" / disk
            write(block / "dev", number)
            if disk.startswith("sd"):
                write(block / "size", 1 << 30)
                write(block / "queue/rotational", 1)
                write(block / "stat", "1 0 8 0 1 0 8 0 0 0 0")
        groups = sorted((roots.cgroupfs / "system.slice").iterdir())
        _move(groups, 0)
        agents = [_Agent(roots, by_disk=False), _Agent(roots, by_disk=True)]
        gc.collect()
        gc.freeze()
        every = groups[:: len(groups) // moving][:moving]
        for turn in range(_SETTLING + _TICKS):
            _move(every, turn + 1)
            # Who reads first has the files' caches cold.
            for agent in agents[:: 1 if turn % 2 else -1]:
                agent.tick()
            os.sched_yield()
        plain, by_disk = (statistics.median(agent.took_us[_SETTLING:]) for agent in agents)
        sizes = [agent.report_bytes for agent in agents]
        for agent in agents:
            agent.close()
    what = f"{WORKLOADS} workloads, {moving} of which move bytes on two of three disks"
    return [
        row(f"agent CPU a tick, {what}: p50", "µs", by_disk, peer="IO in all", peer_value=plain),
        row(f"a Report, {what}", "bytes", sizes[1], peer="IO in all", peer_value=sizes[0]),
    ]


def _readings(disks: int, *, told: bool) -> list[Readings]:
    """Return Reports of ten ticks of as many nodes, each with ten jobs that use two disks."""
    names = [f"disk.sd{chr(ord('a') + i)}" for i in range(disks)]
    domains = [
        (n, report_pb2.SOURCE_KIND_COUNTER) for n in ("cpu.0", "cpu.1", "memory.0", "memory.1", *names)
    ]
    readings = []
    for number in range(_NODES):
        one = SimulatedNode(
            name=f"n{number}",
            cpus=64,
            domains=domains,
            disk_uj=5_000_000,
            disk_idle_mw=5_000,
            disk_uj_per_mib=dict.fromkeys(names, 7_000),
        )
        loads = []
        for i in range(10):
            moved = {names[(i + at) % disks]: (5 + i) * _MIB for at in range(2)}
            load = Load(f"slurm.{number}.{i}", cpu_us=900_000 + i, memory_bytes=i << 30)
            load.disk_bytes = moved
            loads.append(load)
        one.begin(loads)
        for _ in range(10):
            one.tick()
        report = one.report()
        if not told:
            _untell(one, report)
        readings += [each.readings for each in decoded(one, [report])]
    return readings


def _untell(one: SimulatedNode, report: report_pb2.Report) -> None:
    """Leave out of a Report what tells of disks one by one."""
    layout = report_pb2.Layout.FromString(one.layouts[report.layout_hash])
    width = len(report.interval_us) + 1
    kept = [i for i, metric in enumerate(layout.series_metric) if metric != METRIC_WORKLOAD_DISK_IO]
    values = [value for i in kept for value in report.values[i * width : (i + 1) * width]]
    for name in ("series_metric", "series_domain", "series_device", "series_workload"):
        column = list(getattr(layout, name))
        layout.ClearField(name)
        getattr(layout, name).extend(column[i] for i in kept)
    serialized = layout.SerializeToString()
    report.ClearField("values")
    report.values.extend(values)
    report.layout_hash = layout_hash(serialized)
    one.layouts[report.layout_hash] = serialized


def _booking(disks: int) -> Row:
    both = [_readings(disks, told=False), _readings(disks, told=True)]
    took_ns: list[list[int]] = [[], []]
    for _ in range(_ROUNDS):
        for one, took in zip(both, took_ns, strict=True):
            began_ns = time.thread_time_ns()
            book(one)
            took.append(time.thread_time_ns() - began_ns)
    plain, by_disk = (_NODES / min(took) * 1e9 for took in took_ns)
    return row(
        f"Reports booked a second of CPU, 10 jobs that use two of {disks} disks each",
        "1/s",
        by_disk,
        peer="IO in all",
        peer_value=plain,
    )


def measure() -> list[Row]:
    """Return a tick's CPU time and a Report's size, and the rate of booking, with IO by disk and in all."""
    return [*_ticks(20), *_ticks(WORKLOADS), _booking(2), _booking(8), _booking(24)]
