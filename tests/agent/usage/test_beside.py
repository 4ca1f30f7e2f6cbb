"""Devices that are told of beside the tick come, go, and never take a stale answer for a fresh one."""

import threading
from collections.abc import Iterator

import pytest

from joulebook.agent.counters import S
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe
from joulebook.agent.usage.beside import Answered, Beside, Told, Unread, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

_LIMIT_S = 60.0


class Asked:
    """An asker whose answers the test writes."""

    name = "nfs"
    absent = "no NFS mount"

    def __init__(self) -> None:
        self.there = True
        self.answer: Answered | Exception = Answered(())
        self.let = threading.Event()
        self.let.set()
        self.threads: set[int] = set()

    def is_there(self) -> bool:
        return self.there

    def ask(self) -> Answered:
        self.threads.add(threading.get_ident())
        assert self.let.wait(_LIMIT_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Ticks:
    """A source over an asker, ticked by hand as the sampler does."""

    def __init__(self) -> None:
        self.now_us = 1000 * S
        self.asked = Asked()
        self.source = Beside(
            self.asked, period_us=5 * S, timeout_us=5 * S, patience_s=_LIMIT_S, clock=lambda: self.now_us
        )
        self.shown: Probe = Probe()

    def probe(self) -> Probe:
        self.shown = self.source.probe()
        return self.shown

    def tick(self, seconds: int = 5) -> list[int]:
        """Let time pass, ask, wait for the answer and tick again, so that it is taken."""
        self.now_us += seconds * S
        self.source.read(self.now_us)
        self.source.wait(_LIMIT_S)
        return self.look()

    def look(self) -> list[int]:
        values = list(self.source.read(self.now_us))
        if (probe := self.source.changed()) is not None:
            self.shown = probe
            values = list(self.source.read(self.now_us))
        return values


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    """Yield a source, and end its thread."""
    made = Ticks()
    yield made
    made.asked.let.set()
    made.source.close()


def _told(name: str, read: int, errors: int | None = None) -> Told:
    values: dict[m.Metric.ValueType, int] = {m.METRIC_DEVICE_FS_READ: read}
    if errors is not None:
        values[m.METRIC_DEVICE_FS_ERRORS] = errors
    return Told(Device(name, report_pb2.DEVICE_KIND_NETWORK_STORAGE), values)


def test_what_is_not_there_costs_no_thread(ticks: Ticks) -> None:
    """Absent: nothing is asked; when it appears it is found within 30 s, and joins at its first figures."""
    ticks.asked.there = False
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    probe = ticks.probe()
    assert (probe.series, [f.state for f in probe.findings]) == ((), [ABSENT])
    assert ticks.tick() == []
    assert ticks.asked.threads == set()
    ticks.asked.there = True
    assert ticks.tick(30) == [700]
    assert [device.name for device in ticks.shown.devices] == ["nfs:a"]
    assert threading.get_ident() not in ticks.asked.threads


def test_the_start_has_the_first_answer(ticks: Ticks) -> None:
    """One look, as `agent --once` takes it, has the devices already."""
    ticks.asked.answer = Answered((_told("nfs:a", 700, 3), _told("nfs:b", 5, 0)))
    probe = ticks.probe()
    assert [(series.device, series.metric) for series in probe.series] == [
        ("nfs:a", m.METRIC_DEVICE_FS_READ),
        ("nfs:a", m.METRIC_DEVICE_FS_ERRORS),
        ("nfs:b", m.METRIC_DEVICE_FS_READ),
        ("nfs:b", m.METRIC_DEVICE_FS_ERRORS),
    ]
    assert list(ticks.source.read(ticks.now_us)) == [700, 3, 5, 0]
    assert [(f.state, f.reason) for f in probe.findings] == [(WORKING, "nfs:a, nfs:b")]


def test_devices_come_and_go_and_those_that_stay_keep_their_counters(ticks: Ticks) -> None:
    """A second mount joins, the first one leaves; what stays goes on where it was."""
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    ticks.probe()
    ticks.asked.answer = Answered((_told("nfs:a", 800), _told("nfs:b", 5)))
    assert ticks.tick() == [800, 5]
    ticks.asked.answer = Answered((_told("nfs:b", 9),))
    assert ticks.tick() == [9]
    assert [device.name for device in ticks.shown.devices] == ["nfs:b"]


def test_the_old_series_end_before_the_new_ones_begin(ticks: Ticks) -> None:
    """Until changed() is asked, read() gives as many values as were announced."""
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    ticks.probe()
    ticks.asked.answer = Answered((_told("nfs:a", 800), _told("nfs:b", 5)))
    ticks.now_us += 5 * S
    ticks.source.read(ticks.now_us)
    ticks.source.wait(_LIMIT_S)
    assert list(ticks.source.read(ticks.now_us)) == [800]
    assert ticks.look() == [800, 5]


def test_a_stale_answer_is_not_repeated(ticks: Ticks) -> None:
    """Where answers cease, the devices leave after three periods, and it is told why."""
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    ticks.probe()
    ticks.source.findings()
    ticks.asked.answer = OSError("the server is away")
    assert ticks.tick() == [700]
    assert ticks.tick(100) == []
    (finding,) = ticks.shown.findings
    assert finding.state == UNREADABLE
    assert "the server is away" in finding.reason
    assert finding.reason.startswith("stale since")
    ticks.asked.answer = Answered((_told("nfs:a", 900),))
    assert ticks.tick(100) == [900]


def test_a_question_that_hangs_holds_nothing_up(ticks: Ticks) -> None:
    """While the thread hangs, ticks go on and nothing more is asked."""
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    ticks.probe()
    ticks.source.findings()
    ticks.asked.let.clear()
    told: list[Finding] = []
    for _ in range(20):
        ticks.now_us += 5 * S
        values = list(ticks.source.read(ticks.now_us))
        told += ticks.source.findings()
        if (probe := ticks.source.changed()) is not None:
            told += probe.findings
    assert values == [] == list(ticks.source.read(ticks.now_us))
    assert len(ticks.asked.threads) == 1
    assert {finding.state for finding in told} == {UNREADABLE}
    assert all("has not come back" in finding.reason for finding in told)


def test_a_counter_that_jumps_is_dropped_and_named(ticks: Ticks) -> None:
    """What no server sends within the time does not reach the books; negative levels neither."""
    ticks.asked.answer = Answered((_told("nfs:a", 700),))
    ticks.probe()
    ticks.source.findings()
    ticks.asked.answer = Answered((_told("nfs:a", 10**17),))
    assert ticks.tick() == [700]
    (finding,) = ticks.source.findings()
    assert finding.name == "nfs:nfs:a"
    assert "grew by" in finding.reason
    ticks.asked.answer = Answered((_told("nfs:a", 760),))
    assert ticks.tick() == [760]


def test_a_part_that_cannot_be_read_is_named_beside_the_others(ticks: Ticks) -> None:
    """One bad mount is told of by name, and the others are there."""
    ticks.asked.answer = Answered(
        (_told("nfs:a", 700),), (Unread("nfs:bad", "mountstats: no line of bytes"),)
    )
    probe = ticks.probe()
    assert [device.name for device in probe.devices] == ["nfs:a"]
    assert [f for f in probe.findings if f.name != "nfs"] == [
        Finding("nfs:nfs:bad", UNREADABLE, "mountstats: no line of bytes")
    ]
    ticks.tick()
    assert ticks.source.findings() == ()
    ticks.asked.answer = Answered((_told("nfs:a", 800),))
    ticks.tick()
    assert ticks.source.findings() == (Finding("nfs:nfs:bad", WORKING),)


def test_a_flood_of_devices_is_bounded(ticks: Ticks) -> None:
    """More devices than a node has are cut, and one named twice is there once."""
    ticks.asked.answer = Answered(tuple(_told(f"nfs:{n // 2}", n) for n in range(2000)))
    probe = ticks.probe()
    assert len(probe.devices) == 128
    assert probe.findings[0].reason == "nfs:0, nfs:1, nfs:2, nfs:3 and 124 more"


def test_names_are_fit_for_stores() -> None:
    """Whatever a mount is called, its device's name is printable ASCII and not too long."""
    assert device_name("nfs:sérvér:/x\ny\\z") == "nfs:s?rv?r:/x?y?z"
    assert device_name("") == "?"
    assert len(device_name("x" * 5000)) == 200
