"""A row of devices that one thread asks: who waits for it, who does not, and who hangs."""

import threading
import time
from collections.abc import Iterator

import pytest

from joulebook.agent.meters.row import Moment, Rows

_LIMIT_S = 120.0


class Members:
    """Three devices; each that is shut does not come back until it is let."""

    def __init__(self, hangs_s: float) -> None:
        self.gates = {name: threading.Event() for name in "abc"}
        for gate in self.gates.values():
            gate.set()
        self.answered: list[str] = []
        self.rows = Rows("row", "abc", hangs_s=hangs_s)

    def ask(self, name: str) -> None:
        """Answer, once that is let."""
        assert self.gates[name].wait(_LIMIT_S)
        self.answered.append(name)

    def until(self, *answered: str) -> None:
        """Wait for answers."""
        give_up_s = time.monotonic() + _LIMIT_S
        while sorted(self.answered) != sorted(answered):
            assert time.monotonic() < give_up_s, self.answered


@pytest.fixture(params=[1e9])
def members(request: pytest.FixtureRequest) -> Iterator[Members]:
    """Return devices that never count as hung."""
    made = Members(request.param)
    yield made
    for gate in made.gates.values():
        gate.set()
    assert made.rows.close()


def test_what_answers_is_waited_for(members: Members) -> None:
    """All answer within the wait, in their order."""
    members.rows.ask(members.ask, _LIMIT_S)
    assert members.answered == ["a", "b", "c"]
    assert not members.rows.hang


def test_what_is_late_is_not_asked_again_until_it_answered(members: Members) -> None:
    """While a thread is away it is asked nothing more; what it was asked it answers, each once."""
    members.gates["b"].clear()
    members.rows.ask(members.ask, 0.001)
    members.until("a")
    members.rows.ask(members.ask, 0.001)
    members.rows.follow(members.ask)
    members.rows.follow(members.ask)
    assert members.answered == ["a"]
    members.gates["b"].set()
    # The one question, and what follows it, once.
    members.until(*"abc", *"abc")
    members.rows.ask(members.ask, _LIMIT_S)
    members.until(*"abc", *"abc", *"abc")


@pytest.mark.parametrize("members", [0.05], indirect=True)
def test_who_hangs_is_left_to_its_thread(members: Members) -> None:
    """Once it hangs the others are asked by another thread, at the next reading; it is told of alone."""
    members.gates["b"].clear()
    members.rows.ask(members.ask, 0.001)
    give_up_s = time.monotonic() + _LIMIT_S
    while not members.rows.hangs("b"):
        assert time.monotonic() < give_up_s
    assert [members.rows.hangs(name) for name in "abc"] == [False, True, False]
    assert "not answered" in str(members.rows.blocked("b"))
    members.until("a")
    members.rows.ask(members.ask, _LIMIT_S)
    members.until("a", "a", "c")
    members.gates["b"].set()
    members.until("a", "a", "b", "c")
    while members.rows.hang:
        assert time.monotonic() < give_up_s
    members.rows.ask(members.ask, _LIMIT_S)
    members.until(*"aaa", *"bb", *"cc")


def test_a_moment_goes_on() -> None:
    """A late answer's time is the tick's and what went by since."""
    moment = Moment(5_000_000)
    first = moment.us()
    assert 5_000_000 <= first <= moment.us()
