"""When a library is begun again for GPUs that do not answer."""

from itertools import pairwise

import pytest

from joulebook.agent.meters.beginning import Beginning

S = 1_000_000


def begun_s(
    beginning: Beginning, begin_s: int, seconds: int, *, helps_s: int = 0, everything: bool = True
) -> list[int]:
    """Return when it was begun again, looked at each second, where each beginning helps for helps_s."""
    found, well_until_s = [], begin_s
    for now_s in range(begin_s, begin_s + seconds):
        if beginning.is_due(now_s * S, lost=now_s >= well_until_s, everything=everything):
            found.append(now_s - begin_s)
            well_until_s = now_s + 1 + helps_s
    return found


def test_a_driver_that_stays_away_is_begun_again_more_and_more_seldom() -> None:
    """After 5 s, then twice as late each time, at last every ten minutes."""
    assert begun_s(Beginning(), 100, 3000) == [5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435]


@pytest.mark.parametrize("helps_s", [1, 3])
def test_a_driver_that_fails_again_at_once_is_not_begun_again_without_end(helps_s: int) -> None:
    """Though each beginning helps for a moment, the next is twice as far away: all GPUs pause for it."""
    begun = begun_s(Beginning(), 0, 3600, helps_s=helps_s)
    waits = [after - before for before, after in pairwise(begun)]
    assert len(begun) <= 12
    assert waits == sorted(waits)
    assert waits[-1] >= 600


def test_what_was_well_for_long_is_begun_again_soon() -> None:
    """Once all answered for as long as was waited last, the next failure takes 5 s as the first did."""
    beginning = Beginning()
    assert begun_s(beginning, 0, 40) == [5, 15, 35]
    assert not any(beginning.is_due(now_s * S, lost=False, everything=False) for now_s in range(40, 121))
    assert begun_s(beginning, 121, 10) == [5]


def test_where_some_answer_it_waits_for_longer() -> None:
    """One lost GPU of several is worth a pause of the others after a minute."""
    assert begun_s(Beginning(), 0, 200, everything=False) == [60, 120, 180]
