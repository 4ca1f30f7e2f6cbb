"""The node's power by a slow way: joins when it answers, is never repeated as fresh, never blocks a tick."""

import threading
from collections.abc import Iterator

import pytest

from joulebook.agent.meters.bmc import AskError, NodePower
from joulebook.agent.meters.node_meter import NodeMeter
from joulebook.agent.meters.node_way import Asker, NoWay, begin
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Finding
from joulebook.v1 import report_pb2

S = 1_000_000
J = 1_000_000
_LONG_S = 60.0


class Bmc:
    """A way whose answers, and whose clock, are the test's."""

    name = "bmc"
    accuracy_ppm = 50_000
    period_us = 5 * S

    def __init__(self) -> None:
        self.now_us = 1000 * S
        self.answer: NodePower | Exception = NodePower(300_000)
        self.gate = threading.Event()
        self.gate.set()
        self.closed = 0
        self.asker = Asker(self, clock=lambda: self.now_us)

    def probe(self) -> Finding:
        """Say that it is there."""
        return Finding(self.name, WORKING)

    def read(self) -> NodePower:
        """Answer, when the gate is open."""
        assert self.gate.wait(_LONG_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """Count."""
        self.closed += 1

    def tick(self, *meters: NodeMeter) -> None:
        """Let a second pass, and have what is out answered before the next one."""
        self.now_us += S
        for meter in meters:
            meter.read(self.now_us)
        if self.gate.is_set():
            self.asker.slow.wait(_LONG_S)


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    """Return a BMC."""
    bmc = Bmc()
    yield bmc
    bmc.gate.set()
    bmc.asker.close()


def test_power_is_integrated_from_the_first_answer(bmc: Bmc) -> None:
    """An answer that is there at the start makes the domain at once; each second has its energy."""
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker)
    probe = meter.probe()
    (node,) = probe.domains
    assert (node.name, node.source, node.kind) == ("node", "bmc", report_pb2.SOURCE_KIND_AVERAGE_POWER)
    assert (node.period_us, node.accuracy_ppm, node.resolution_uj) == (5 * S, 50_000, 5 * J)
    assert probe.findings == (Finding("bmc", WORKING),)
    first = list(meter.read(bmc.now_us))
    for _ in range(20):
        bmc.tick(meter)
    assert [after - before for before, after in zip(first, meter.read(bmc.now_us), strict=True)] == [
        6000 * J,
        0,
    ]
    assert (meter.changed(), meter.findings(), meter.offsets_uj()) == (None, (), (0,))


def test_a_late_answer_joins(bmc: Bmc) -> None:
    """Until the first answer there is no domain; it comes with it, and the time before is not in it."""
    bmc.gate.clear()
    begin([bmc.asker], 0)
    meter = NodeMeter(bmc.asker)
    probe = meter.probe()
    assert (probe.domains, probe.series) == ((), ())
    assert probe.findings == (Finding("bmc", WORKING, "asked; no answer yet"),)
    assert meter.is_waiting()
    for _ in range(3):
        bmc.tick(meter)
        assert (meter.read(bmc.now_us), meter.changed()) == ((), None)
    bmc.gate.set()
    bmc.tick(meter)
    bmc.tick(meter)
    joined = meter.changed()
    assert joined is not None
    assert [domain.name for domain in joined.domains] == ["node"]
    assert joined.findings == (Finding("bmc", WORKING),)
    assert not meter.is_waiting()
    values = list(meter.read(bmc.now_us))
    assert len(values) == len(joined.series)
    bmc.tick(meter)
    assert [b - a for a, b in zip(values, meter.read(bmc.now_us), strict=True)] == [300 * J, 0]
    assert meter.changed() is None


def test_a_hang_blocks_no_tick_and_is_told(bmc: Bmc) -> None:
    """A BMC that does not come back is held for three periods, then missed, by name; its end is seen."""
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker)
    meter.probe()
    meter.read(bmc.now_us)
    bmc.gate.clear()
    values = {}
    told: list[Finding] = []
    for second in range(1, 60):
        bmc.tick(meter)
        values[second] = list(meter.read(bmc.now_us))
        told += meter.findings()
    assert values[15] == [15 * 300 * J, 0]
    assert values[40] == [15 * 300 * J, 25 * S]
    assert told[0].state == UNREADABLE
    assert "stale since" in told[0].reason
    assert any("has not come back" in finding.reason for finding in told)
    bmc.gate.set()
    bmc.asker.slow.wait(_LONG_S)
    for _ in range(7):
        bmc.tick(meter)
    assert meter.findings() == (Finding("bmc:node", WORKING),)
    # Nothing is made up for the time in which nobody knew.
    energy_uj, unread_us = meter.read(bmc.now_us)
    assert energy_uj <= (66 * S - unread_us) * 300
    assert unread_us >= 40 * S


def test_a_refused_answer_is_a_reason_with_its_fix(bmc: Bmc) -> None:
    """A lie is not booked; it is told once it lasts, with what mends it."""
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker)
    meter.probe()
    bmc.answer = AskError("DCMI says 0 W", "restart it")
    told: list[Finding] = []
    for _ in range(40):
        bmc.tick(meter)
        told += meter.findings()
    (finding,) = told
    assert (finding.name, finding.state, finding.fix) == ("bmc:node", UNREADABLE, "restart it")
    assert finding.reason.endswith("DCMI says 0 W")
    assert meter.read(bmc.now_us)[0] <= 16 * 300 * J


def test_a_counter_is_a_meter_of_its_own(bmc: Bmc) -> None:
    """A fine counter makes a second meter of the same answers; a coarse one, or none, does not."""
    bmc.answer = NodePower(300_000, 1000, 0, 10**12, 1_000_000, "EnvironmentMetrics")
    begin([bmc.asker], _LONG_S)
    meters = NodeMeter(bmc.asker, by_counter=True), NodeMeter(bmc.asker)
    names = [meter.probe().domains[0].source for meter in meters]
    assert names == ["bmc_energy", "bmc"]
    first = [meter.read(bmc.now_us)[0] for meter in meters]
    for second in range(1, 21):
        # The counter counts what the momentary gauge does not see.
        bmc.answer = NodePower(300_000, 1000, 0, 10**12 + second * 400 * J, 1_000_000, "EnvironmentMetrics")
        bmc.tick(*meters)
    grown = [meter.read(bmc.now_us)[0] - before for meter, before in zip(meters, first, strict=True)]
    assert grown[1] == 6000 * J
    assert 7500 * J <= grown[0] <= 8000 * J


def test_a_coarse_counter_is_left_to_the_gauge(bmc: Bmc) -> None:
    """A counter that moves by kilojoules would stand still for many ticks: it has no domain."""
    bmc.answer = NodePower(300_000, 1000, 0, 10**12, 3_600_000_000, "EnvironmentMetrics")
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker, by_counter=True)
    probe = meter.probe()
    assert (probe.domains, probe.findings) == ((), ())
    bmc.tick(meter)
    assert (meter.read(bmc.now_us), meter.changed(), meter.findings(), meter.offsets_uj()) == (
        (),
        None,
        (),
        (),
    )


def test_a_stuck_counter_is_suspect(bmc: Bmc) -> None:
    """A counter that stands still beside 300 W says so, and how far it is off."""
    bmc.answer = NodePower(300_000, 1000, 0, 10**12, 1_000_000)
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker, by_counter=True)
    meter.probe()
    told: list[Finding] = []
    for _ in range(90):
        bmc.tick(meter)
        told += meter.findings()
    assert (told[-1].name, told[-1].state, told[-1].off_ppm) == ("bmc_energy:node", SUSPECT, 1_000_000)


def test_another_way_is_another_description(bmc: Bmc) -> None:
    """Where the BMC is asked otherwise the domain says so; another number of digits changes nothing."""
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker)
    meter.probe()
    bmc.answer = NodePower(300_500, 100)
    for _ in range(7):
        bmc.tick(meter)
    assert meter.changed() is None
    bmc.answer = NodePower(300_000, 1000, 60 * S, way="SDR")
    for _ in range(7):
        bmc.tick(meter)
    changed = meter.changed()
    assert changed is not None
    assert changed.domains[0].period_us == 60 * S


def test_what_is_not_configured_is_absent_and_never_asked() -> None:
    """A way that is not there says why, and reads nothing."""
    asker = Asker(NoWay("redfish", "no agent.redfish.url"))
    begin([asker], _LONG_S)
    meter = NodeMeter(asker)
    probe = meter.probe()
    assert probe.findings == (Finding("redfish", ABSENT, "no agent.redfish.url"),)
    assert (meter.read(S), meter.changed(), meter.findings()) == ((), None, ())
    assert NodeMeter(asker, by_counter=True).probe().findings == ()
    meter.close()


def test_the_way_is_closed_once(bmc: Bmc) -> None:
    """Two meters of one way give it back once."""
    begin([bmc.asker], _LONG_S)
    for meter in (NodeMeter(bmc.asker), NodeMeter(bmc.asker, by_counter=True)):
        meter.close()
    assert bmc.closed == 1


def test_a_way_that_never_answered_is_told_by_its_own_name(bmc: Bmc) -> None:
    """Before there is a domain the way is unreadable with reason and fix; when it answers, it works."""
    bmc.answer = AskError("the password is wrong", "correct it")
    begin([bmc.asker], _LONG_S)
    meter = NodeMeter(bmc.asker)
    probe = meter.probe()
    assert probe.findings == (Finding("bmc", UNREADABLE, "the password is wrong", "correct it"),)
    assert not meter.is_waiting()
    bmc.tick(meter)
    assert meter.findings() == ()
    bmc.answer = NodePower(300_000)
    for _ in range(7):
        bmc.tick(meter)
    joined = meter.changed()
    assert joined is not None
    assert joined.findings == (Finding("bmc", WORKING),)
    assert meter.findings() == ()
