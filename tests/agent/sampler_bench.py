"""A sampler on a made-up machine, turned by a test."""

from pathlib import Path

from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Meter, Roots, Source
from joulebook.agent.workloads.workloads import Workloads
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.v1 import report_pb2
from tests.simulated.sources import RANGE_UJ, FakeMeter, FakeUsage, PluggedMeter

BOOT = bytes(16)
GPU_UJ = 333_333


class Bench:
    """A sampler on a made-up machine: a v2 cgroup tree in a directory, a clock that the test turns."""

    def __init__(self, directory: Path, ticks_per_report: int = 4) -> None:
        self.cgroups = directory / "cgroup"
        (self.cgroups / "system.slice").mkdir(parents=True)
        (self.cgroups / "cgroup.controllers").write_text("cpu memory\n")
        self.group("system.slice/a.service", 1_000)
        proc = directory / "proc"
        (proc / "self").mkdir(parents=True)
        (proc / "self/cgroup").write_text("0::/\n")
        (proc / "self/statm").write_text("100 50 1 1 1 1 1\n")
        self.meter, self.usage, self.plugged = FakeMeter(), FakeUsage(), PluggedMeter()
        self.now_us, self.wall_us = 10_000_000, 1_790_000_000_000_000
        self.reports: list[tuple[report_pb2.Report, bytes]] = []
        roots = Roots(proc, directory / "sys", self.cgroups, directory / "dev")
        sources: list[Source] = [self.usage, self.plugged, self.meter]
        meters: list[Meter] = [self.plugged, self.meter]
        self.workloads = Workloads(roots)
        self.sampler = Sampler(
            "n1",
            BOOT,
            report_pb2.Host(logical_cpus=4, packages=1, memory_bytes=1 << 33),
            [(s, s.probe()) for s in sources],
            meters,
            self.workloads,
            lambda report, layout: self.reports.append((report, layout)),
            ticks_per_report=ticks_per_report,
            intensities=Intensities(4),
            clock=lambda: self.now_us,
            wall_clock_ns=lambda: (self.wall_us + self.now_us) * 1000,
        )
        self.sampler.start()

    def group(self, path: str, cpu_us: int) -> None:
        """Make or turn a cgroup."""
        directory = self.cgroups / path
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.stat").write_text(f"usage_usec {cpu_us}\nuser_usec 0\nsystem_usec 0\n")
        (directory / "memory.current").write_text("4096\n")

    def remove(self, path: str) -> None:
        """Remove a cgroup."""
        directory = self.cgroups / path
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()

    def tick(self, energy_uj: int = 1_000_000, length_us: int = 1_000_000) -> None:
        """Let time pass and have the sampler read."""
        self.now_us += length_us
        self.meter.raw_uj = (self.meter.raw_uj + energy_uj) % RANGE_UJ
        self.plugged.raw_uj += GPU_UJ
        self.sampler.tick()

    def decoded(self) -> list[Decoded]:
        """Decode what was sent, as the collector does."""
        return [
            decode_report(report, decode_layout(layout), self.wall_us + self.now_us, 1_000_000)
            for report, layout in self.reports
        ]

    def series(self, number: int, metric: int, subject: str = "") -> list[int]:
        """Return one series of a Report: the reading at its start, then differences."""
        readings = self.decoded()[number].readings
        for row, key in enumerate(readings.layout.series):
            if key.metric == metric and subject in (key.workload, key.domain):
                return [int(v) for v in readings.values[row]]
        raise AssertionError(f"no series {metric} of {subject!r}")
