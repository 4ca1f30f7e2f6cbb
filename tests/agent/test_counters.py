"""What is believed of counters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.counters import Counters, S, Trouble
from joulebook.agent.source import SUSPECT, WORKING

_LIMITS = (1000, 100)


def _counters() -> Counters:
    counters = Counters(Trouble("disks:sda"), _LIMITS)
    assert counters.take((5000, 50), 0) == (5000, 50)
    return counters


def test_believable_readings_pass_as_they_are() -> None:
    """What the kernel counted is what is shown, and a long gap allows long growth."""
    counters = _counters()
    assert counters.take((6000, 150), S) == (6000, 150)
    assert counters.take((16_000, 150), 11 * S) == (16_000, 150)
    assert counters.trouble.count == 0


@pytest.mark.parametrize("glitch", [(0, 0), (2**64 - 1, 150), (5000, 49), (7001, 50), (-1, 50)])
def test_a_glitch_loses_nothing(glitch: tuple[int, int]) -> None:
    """One reading that fell or jumped is dropped and counted; the next one has all that was counted."""
    counters = _counters()
    assert counters.take(glitch, S) == (5000, 50)
    assert counters.trouble.count == 1
    assert counters.take((6500, 60), 2 * S) == (6500, 60)


def test_counters_that_began_again_at_0_lose_nothing_since() -> None:
    """After a reset seen twice, what was counted since 0 is added."""
    counters = _counters()
    assert counters.take((40, 4), S) == (5000, 50)
    assert counters.take((90, 5), 2 * S) == (5090, 55)
    assert counters.take((100, 5), 3 * S) == (5100, 55)
    assert counters.trouble.count == 1
    assert counters.trouble.reason == "counter 1 fell from 5000 to 40"


def test_an_absurd_step_is_never_counted() -> None:
    """Where the counters go on from an absurd step, only what came after it counts."""
    counters = _counters()
    assert counters.take((10**18, 50), S) == (5000, 50)
    assert counters.take((10**18 + 7, 51), 2 * S) == (5007, 51)
    assert "grew by" in counters.trouble.reason


def test_what_could_not_be_read_is_counted_and_lost_nothing() -> None:
    """A miss keeps the values; the next reading has what was counted meanwhile."""
    counters = _counters()
    assert counters.miss(ValueError("empty"), S) == (5000, 50)
    assert counters.take((6900, 50), 2 * S) == (6900, 50)
    assert (counters.trouble.count, counters.trouble.reason) == (1, "empty")


def test_a_first_reading_that_cannot_be_is_not_the_beginning() -> None:
    """After a first reading that no counter has, or none at all, nothing comes at once."""
    for first in ((-1, 0), (1 << 63, 0), None):
        counters = Counters(Trouble("disks:sda"), _LIMITS)
        assert (counters.miss("empty", 0) if first is None else counters.take(first, 0)) == (0, 0)
        assert counters.take((5000, 50), S) == (0, 0)
        assert counters.take((5100, 51), 2 * S) == (100, 1)
        assert counters.trouble.count == 1


def test_one_is_told_and_many_are_suspect() -> None:
    """A single dropped reading is told once; five within a minute make it suspect, until it is calm."""
    trouble = Trouble("disks:sda")
    assert trouble.finding(0) is None
    trouble.add("fell", S)
    first = trouble.finding(S)
    assert first is not None
    assert (first.name, first.state) == ("disks:sda", WORKING)
    assert "readings dropped: 1" in first.reason
    assert trouble.finding(2 * S) is None
    for second in range(2, 6):
        trouble.add("fell", second * S)
    many = trouble.finding(6 * S)
    assert many is not None
    assert many.state == SUSPECT
    assert trouble.finding(7 * S) is None
    calm = trouble.finding(200 * S)
    assert calm is not None
    assert calm.state == WORKING


@given(st.lists(st.tuples(st.integers(-5, 1 << 66), st.integers(-5, 1 << 66)), min_size=1, max_size=30))
def test_whatever_is_read_values_neither_fall_nor_jump(raws: list[tuple[int, int]]) -> None:
    """Under any readings at all, values never fall and never grow faster than the limits over the time."""
    counters = _counters()
    before, believed_at = counters.values, 0
    for second, raw in enumerate(raws, start=1):
        values = counters.take(raw, second * S)
        for old, new, limit in zip(before, values, _LIMITS, strict=True):
            assert 0 <= new - old <= limit * (second - believed_at + 1)
        if values != before:
            believed_at = second - 1
        before = values
