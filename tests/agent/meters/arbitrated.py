"""Meters that the test turns, an arbiter over them, and the Reports that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.series import energy_series
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import (
    WORKING,
    Device,
    Domain,
    Finding,
    Meter,
    Probe,
    Series,
)
from joulebook.agent.workloads.workloads import Workloads
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ledger.book import book
from joulebook.v1 import metrics_pb2, report_pb2
from tests.simulated.no_jobs import NoJobs

S = 1_000_000
KINDS = (report_pb2.SOURCE_KIND_COUNTER, report_pb2.SOURCE_KIND_INSTANT_POWER, report_pb2.SOURCE_KIND_MODEL)
COUNTER, GAUGE, MODEL = range(3)


@dataclass
class Fake:
    """A meter of some domains, whose powers the test turns; a power of None cannot be read."""

    name: str
    power_mw: dict[str, int | None]
    kind: int = COUNTER
    accuracy_ppm: int = 30_000
    devices: tuple[str, ...] = ()
    reads: int = 0
    broken: bool = False
    jumps: bool = False
    joining: dict[str, int | None] = field(default_factory=dict)
    raw_uj: dict[str, int] = field(default_factory=dict)
    counters: dict[str, EnergyCounter | PowerIntegral] = field(default_factory=dict)
    healths: dict[str, Health] = field(default_factory=dict)
    last_us: int = 0

    def probe(self) -> Probe:
        """Find the domains that have a power now."""
        for name in self.power_mw:
            if name not in self.counters:
                self.counters[name] = EnergyCounter() if self.kind == COUNTER else PowerIntegral()
                self.healths[name] = Health(f"{self.name}:{name}", name, self.counters[name])
        kind = KINDS[self.kind]
        domains = [Domain(name, self.name, kind, 1, 1000, self.accuracy_ppm) for name in self.power_mw]
        gauge = metrics_pb2.METRIC_DEVICE_GPU_TEMPERATURE
        return Probe(
            energy_series(self.power_mw) + tuple(Series(gauge, device=name) for name in self.devices),
            tuple(domains),
            tuple(Device(name, report_pb2.DEVICE_KIND_GPU) for name in self.devices),
            (Finding(self.name, WORKING),),
        )

    def changed(self) -> Probe | None:
        """Probe anew where the test says so."""
        if not self.joining:
            return None
        self.power_mw |= self.joining
        self.joining = {}
        return self.probe()

    def read(self, now_us: int) -> Sequence[int]:
        """Let the powers be drawn up to now, and read."""
        self.reads += 1
        if self.broken:
            raise OSError("gone")
        values = []
        for name, power_mw in self.power_mw.items():
            counter = self.counters[name]
            drawn_uj = (power_mw or 0) * (now_us - self.last_us) // 1000
            self.raw_uj[name] = self.raw_uj.get(name, 0) + drawn_uj
            if power_mw is None:
                counter.miss(now_us)
            else:
                # One that jumps shows every other time what cannot be.
                off = 10**15 if self.jumps and self.reads % 2 else 0
                counter.update(off + (self.raw_uj[name] if self.kind == COUNTER else power_mw), now_us)
            values += [counter.energy_uj, counter.unread_us]
        self.last_us = now_us
        return [*values, *(45_000 for _ in self.devices)]

    def findings(self) -> tuple[Finding, ...]:
        """Say what the healths say."""
        return tuple(f for name in self.power_mw for f in self.healths[name].finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return the counters' offsets."""
        return tuple(self.counters[name].offset_uj for name in self.power_mw)

    def close(self) -> None:
        """Hold nothing."""


class Node:
    """Fake meters, an arbiter over them, a sampler, and the Reports that it sent."""

    def __init__(self, *meters: Fake) -> None:
        self.now_us = 1000 * S
        self.meters = meters
        for meter in meters:
            meter.last_us = self.now_us
        probed: list[tuple[Meter, Probe]] = [(meter, meter.probe()) for meter in meters]
        self.arbiter = Arbiter(probed)
        self.reports: list[tuple[report_pb2.Report, bytes]] = []
        self.sampler = Sampler(
            "n1",
            bytes(16),
            report_pb2.Host(logical_cpus=4, packages=1, memory_bytes=1 << 33),
            [(self.arbiter, self.arbiter.probe())],
            [self.arbiter],
            cast(Workloads, NoJobs()),
            lambda report, layout: self.reports.append((report, layout)),
            clock=lambda: self.now_us,
            wall_clock_ns=lambda: self.now_us * 1000,
        )
        self.sampler.start()

    def run(self, seconds: int) -> None:
        """Let time pass, a tick a second."""
        for _ in range(seconds):
            self.now_us += S
            self.sampler.tick()

    def sources(self) -> dict[str, str]:
        """Return which meter gives each domain now."""
        layout = report_pb2.Layout.FromString(self.sampler.layout)
        return {domain.name: domain.source for domain in layout.domains}

    def accuracy_ppm(self, name: str) -> int:
        """Return what the layout now says of a domain's accuracy."""
        layout = report_pb2.Layout.FromString(self.sampler.layout)
        return next(domain.accuracy_ppm for domain in layout.domains if domain.name == name)

    def finish(self) -> list[Decoded]:
        """Send the rest; return all Reports as the collector takes them. They tile time and balance."""
        self.sampler.cut()
        decoded = [decode_report(r, decode_layout(layout), self.now_us, S) for r, layout in self.reports]
        assert all(one.end_us == two.start_us for one, two in pairwise(decoded))
        books = book([one.readings for one in decoded])
        assert not books.residual_uj.any()
        return decoded

    def booked_uj(self) -> int:
        """Return what was booked in all."""
        return int(book([one.readings for one in self.finish()]).measured_uj.sum())

    def told(self, name: str) -> list[tuple[int, str]]:
        """Return what Reports said of a source."""
        return [(s.state, s.reason) for report, _ in self.reports for s in report.sources if s.name == name]
