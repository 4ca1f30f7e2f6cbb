"""One meter a domain, whatever becomes of them, and books that go on without a break."""

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
    SUSPECT,
    UNREADABLE,
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


def test_a_stuck_counter_is_taken_over_from_and_gets_its_domain_back() -> None:
    """RAPL stands still: another gives the package; it moves again: after a while it is trusted."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 101_000})
    node = Node(rapl, hwmon)
    node.run(30)
    assert node.sources() == {"cpu.0": "rapl"}
    rapl.power_mw["cpu.0"] = 0
    node.run(200)
    assert node.sources() == {"cpu.0": "hwmon"}
    rapl.power_mw["cpu.0"] = 100_000
    node.run(59)
    assert node.sources() == {"cpu.0": "hwmon"}
    node.run(130)
    assert node.sources() == {"cpu.0": "rapl"}
    node.finish()
    told = node.told("rapl:cpu.0")
    assert told[0][0] == SUSPECT
    assert told[0][1].startswith("stuck")
    assert told[-1][0] == WORKING
    # What was lost is what the counter did not count before it was found out: 60 s and 10 s of patience.
    ticks = 30 + 200 + 59 + 130
    assert 0 < ticks * 100 * S - node.booked_uj() <= 75 * 100 * S


def test_a_counter_that_jumps_is_taken_over_from_and_gets_its_domain_back() -> None:
    """RAPL shows impossible energies on and on: another gives the package, until that has long stopped."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 101_000})
    node = Node(rapl, hwmon)
    node.run(30)
    rapl.jumps = True
    node.run(10)
    assert node.sources() == {"cpu.0": "rapl"}
    node.run(60)
    assert node.sources() == {"cpu.0": "hwmon"}
    assert node.accuracy_ppm("cpu.0") == 30_000
    rapl.jumps = False
    node.run(110)
    assert node.sources() == {"cpu.0": "hwmon"}
    node.run(20)
    assert node.sources() == {"cpu.0": "rapl"}
    # Nothing is lost and nothing is twice: what the counter had jumped over it shows when it is back.
    assert 230 * 100 * S <= node.booked_uj() <= 231 * 101 * S
    states = [state for state, _ in node.told("rapl:cpu.0")]
    assert (states[0], states[-1]) == (SUSPECT, WORKING)


def test_a_counter_that_jumps_without_a_second_has_a_wider_margin() -> None:
    """Where nothing else gives the domain, it is booked on, and may be off by all of it while it jumps."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    node = Node(rapl)
    node.run(30)
    rapl.jumps = True
    node.run(60)
    assert (node.sources(), node.accuracy_ppm("cpu.0")) == ({"cpu.0": "rapl"}, 1_000_000)
    rapl.jumps = False
    node.run(130)
    assert node.accuracy_ppm("cpu.0") == 30_000
    assert node.booked_uj() == 220 * 100 * S


def test_a_suspect_without_a_second_goes_on_with_a_wider_margin() -> None:
    """A node meter far below its parts has no stand-in: it is told of, and its ± is as far as it was off."""
    bmc = Fake("bmc", {"node": 300_000}, GAUGE)
    rapl = Fake("rapl", {"cpu.0": 100_000, "cpu.1": 100_000})
    node = Node(bmc, rapl)
    node.run(300)
    assert node.accuracy_ppm("node") == 30_000
    bmc.power_mw["node"] = 125_000
    node.run(300)
    assert node.accuracy_ppm("node") == 600_000
    assert node.sources() == {"node": "bmc", "cpu.0": "rapl", "cpu.1": "rapl"}
    bmc.power_mw["node"] = 300_000
    node.run(300)
    assert node.accuracy_ppm("node") == 30_000
    node.finish()
    assert [state for state, _ in node.told("bmc:node")] == [SUSPECT, WORKING]
    assert node.told("bmc:node")[0][1] == "shows 125 W where its parts add up to 200 W"


def test_a_meter_that_falls_silent_is_modelled_after_its_patience() -> None:
    """A counter is waited for as long as it may come back with what it counted; then the model gives."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    model = Fake("model", {"cpu.0": 80_000}, MODEL, 500_000)
    node = Node(rapl, model)
    node.run(30)
    rapl.power_mw["cpu.0"] = None
    node.run(50)
    assert node.sources() == {"cpu.0": "rapl"}
    node.run(30)
    assert node.sources() == {"cpu.0": "model"}
    decoded = node.finish()
    assert node.told("rapl:cpu.0")[0][0] == UNREADABLE
    layout = decoded[-1].readings.layout
    assert layout.message.domains[0].kind == report_pb2.SOURCE_KIND_MODEL


def test_a_meter_that_breaks_as_a_whole_hands_over_all() -> None:
    """One that raises takes no other down, and all that it gave goes to the next."""
    bmc = Fake("bmc", {"node": 300_000}, GAUGE)
    acpi = Fake("acpi", {"node": 310_000}, GAUGE)
    node = Node(bmc, acpi)
    node.run(5)
    bmc.broken = True
    node.run(20)
    assert node.sources() == {"node": "acpi"}
    node.finish()
    assert (UNREADABLE, "gone") in node.told("bmc")


def test_two_that_differ_are_both_suspect_and_the_better_one_stays() -> None:
    """Which of two is wrong nobody knows: the first is booked on, its ± reaches to the other."""
    rapl = Fake("rapl", {"cpu.0": 100_000})
    hwmon = Fake("hwmon", {"cpu.0": 140_000})
    node = Node(rapl, hwmon)
    node.run(300)
    assert node.accuracy_ppm("cpu.0") == 400_000
    assert node.sources() == {"cpu.0": "rapl"}
    node.finish()
    assert node.told("rapl:cpu.0") == [(SUSPECT, "shows 100 W where hwmon shows 140 W")]


def test_a_meter_joins_and_takes_what_is_its_own() -> None:
    """A BMC that answers late becomes the root from that tick on; each GPU stays with one driver."""
    bmc = Fake("bmc", {}, GAUGE)
    nvml = Fake("nvml", {"gpu.0": 50_000}, devices=("gpu.0",))
    other = Fake("hwmon", {"gpu.0": 60_000}, devices=("gpu.0", "gpu.1"))
    node = Node(bmc, nvml, other)
    node.run(7)
    assert node.sources() == {"gpu.0": "nvml"}
    bmc.joining["node"] = 300_000
    node.run(7)
    assert node.sources() == {"node": "bmc", "gpu.0": "nvml"}
    assert node.booked_uj() == (8 * 50 + 6 * 300) * S
    layout = report_pb2.Layout.FromString(node.sampler.layout)
    assert [device.name for device in layout.devices] == ["gpu.0", "gpu.1"]


def test_every_meter_is_read_once_a_tick() -> None:
    """A take-over reads nothing twice."""
    bmc, rapl = Fake("bmc", {}, GAUGE), Fake("rapl", {"cpu.0": 100_000})
    node = Node(bmc, rapl)
    bmc.joining["node"] = 300_000
    node.run(9)
    assert rapl.reads == 10
    node.finish()
