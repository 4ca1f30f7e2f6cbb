"""What takes long is asked beside the tick: never waited for, never repeated as fresh, never piled up."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from joulebook.agent.slow import Slow
from joulebook.agent.source import UNREADABLE, WORKING, Finding

S = 1_000_000
LONG_S = 60.0


class Thing:
    """Answers with what the test says, when the test lets it; its clock is the test's."""

    def __init__(self) -> None:
        self.now_us = 100 * S
        self.value: Any = 1
        self.asked = 0
        # An answer of one less than the whole lacks a part, for this reason.
        self.whole = 100
        self.missing: Exception = OSError("refused")
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.slow: Slow[int] = Slow(
            "thing",
            self._ask,
            period_us=2 * S,
            timeout_us=5 * S,
            missing=lambda value: self.missing if value == self.whole - 1 else None,
            clock=lambda: self.now_us,
            wall_s=lambda: 1_790_000_000 + self.now_us / 1e6,
        )

    def _ask(self) -> int:
        self.asked += 1
        self.begun.set()
        assert self.gate.wait(LONG_S)
        if isinstance(self.value, Exception):
            raise self.value
        return int(self.value)

    def tick(self, *, answered: bool = True) -> int | None:
        """Let a second pass and poll; then have the question answered that is out, where there is one."""
        self.now_us += S
        fresh = self.slow.poll(self.now_us)
        if answered:
            self.slow.wait(LONG_S)
        return None if fresh is None else fresh.value


@pytest.fixture
def thing() -> Iterator[Thing]:
    """Return something slow."""
    thing = Thing()
    yield thing
    thing.gate.set()
    assert thing.slow.close()


def test_it_is_asked_at_its_own_period(thing: Thing) -> None:
    """Every second tick asks, the one after takes the answer, with the time at which it was taken."""
    assert [thing.tick() for _ in range(6)] == [None, 1, None, 1, None, 1]
    assert thing.asked == 3
    answer = thing.slow.answer(thing.now_us)
    assert answer is not None
    assert (answer.value, answer.taken_us) == (1, 105 * S)
    assert thing.slow.finding(thing.now_us) == ()


def test_a_hang_is_told_of_and_not_piled_up(thing: Thing) -> None:
    """While a call hangs ticks go on, no other is begun, the last answer becomes stale; then all is well."""
    thing.tick()
    thing.tick()
    thing.gate.clear()
    thing.begun.clear()
    threads = threading.active_count()
    told: list[Finding] = []
    for _ in range(30):
        assert thing.tick(answered=False) is None
        told += thing.slow.finding(thing.now_us)
    assert thing.begun.wait(LONG_S)
    assert thing.asked == 2
    assert threading.active_count() == threads
    assert [finding.state for finding in told] == [UNREADABLE] * len(told)
    assert told[0].reason.startswith("stale since 14:15:01Z")
    # In doublings of the time-out, not at every tick.
    assert [f.reason.rpartition("for ")[2] for f in told[-3:]] == [
        "5 s or more",
        "10 s or more",
        "20 s or more",
    ]
    assert thing.slow.answer(thing.now_us) is None
    thing.gate.set()
    thing.slow.wait(LONG_S)
    assert thing.tick() == 1
    assert [finding.state for finding in thing.slow.finding(thing.now_us)] == [WORKING]


def test_silent_at_start_joins_later(thing: Thing) -> None:
    """What refuses at first is asked ever less often, says why with what mends it, and joins in the end."""
    refused = ConnectionRefusedError("connection refused")
    refused.fix = "start it"  # type: ignore[attr-defined]
    thing.value = refused
    for _ in range(200):
        assert thing.tick() is None
    (told,) = thing.slow.finding(thing.now_us)
    assert (told.state, told.reason, told.fix) == (UNREADABLE, "connection refused", "start it")
    assert 5 <= thing.asked <= 10
    thing.value = 7
    assert 7 in [thing.tick() for _ in range(62)]
    assert [finding.state for finding in thing.slow.finding(thing.now_us)] == [WORKING]


def test_a_fault_between_answers_is_no_news(thing: Thing) -> None:
    """One failure leaves the newest answer standing until it is stale."""
    thing.tick()
    thing.tick()
    thing.value = ValueError("garbage")
    thing.tick()
    thing.tick()
    assert thing.slow.trouble(thing.now_us) == ""
    for _ in range(5):
        thing.tick()
    assert thing.slow.trouble(thing.now_us) == "stale since 14:15:01Z: garbage"
    newest = thing.slow.newest
    assert newest is not None
    assert newest.value == 1


def test_each_question_in_vain_counts_once_by_its_kind(thing: Thing) -> None:
    """Refusals, silence and answers in part are told apart; those in order count as asked alone."""
    counts = thing.slow.asked

    def seen() -> tuple[int, int, int]:
        return counts.count, counts.refused, counts.timed_out

    thing.tick()
    thing.tick()
    assert seen() == (1, 0, 0)
    for value, missing, expected in (
        (OSError("no"), None, (2, 1, 0)),
        (TimeoutError("late"), None, (3, 1, 1)),
        (99, OSError("a part"), (4, 2, 1)),
        (99, TimeoutError("a part"), (5, 2, 2)),
        (1, None, (6, 2, 2)),
    ):
        thing.value, thing.missing = value, missing or thing.missing
        asked = thing.asked
        while thing.asked == asked:
            thing.tick()
        # Taken with the next tick, which asks again only where that is due.
        thing.now_us += S // 2
        thing.slow.poll(thing.now_us)
        assert seen() == expected


def test_a_hang_counts_once_however_it_ends(thing: Thing) -> None:
    """It is counted when its time is over; that it then fails, or answers, adds nothing."""
    thing.gate.clear()
    thing.value = TimeoutError("late")
    for _ in range(20):
        thing.tick(answered=False)
    assert (thing.slow.asked.count, thing.slow.asked.timed_out) == (1, 1)
    thing.gate.set()
    thing.slow.wait(LONG_S)
    thing.slow.poll(thing.now_us)
    assert (thing.slow.asked.refused, thing.slow.asked.timed_out) == (0, 1)
