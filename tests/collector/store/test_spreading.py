"""Energy spread over steps in columns is what it is row by row, whatever the amounts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.store.duckdb import spreading
from joulebook.collector.store.duckdb.spreading import Booked, Stepped, Steps, places, spread, together
from joulebook.collector.store.spread import spread as one_by_one

_TIMES = st.one_of(st.integers(0, 200), st.integers(0, 1 << 33))
_UJ = st.one_of(st.integers(0, 50), st.integers(0, (1 << 63) - 1), st.integers(0, 1 << 66))
_ROWS = st.lists(st.tuples(st.integers(0, 3), _UJ, _TIMES, _TIMES), max_size=8)


@pytest.mark.parametrize("at_once", [1, 3, 1 << 20])
@given(
    rows=_ROWS,
    narrow=st.booleans(),
    ends=st.tuples(_TIMES, _TIMES),
    back_us=st.integers(0, 99),
    steps=st.integers(1, 40),
)
def test_rows_are_spread_as_one_by_one(
    at_once: int,
    rows: list[tuple[int, int, int, int]],
    narrow: bool,
    ends: tuple[int, int],
    back_us: int,
    steps: int,
) -> None:
    """Each account has in each step what its rows have there, to the µJ, in however many pieces."""
    most = (1 << 63) - 1 if narrow else 1 << 66
    rows = [(a, min(uj, most), min(times), max(times)) for a, uj, *times in rows]
    from_us, to_us = min(ends), max(ends)
    step_us = max(1, (to_us - from_us) // steps)
    account, uj, began, ended = ([row[i] for row in rows] for i in range(4))
    booked = Booked(
        np.array(account, dtype=np.int64),
        np.array(uj, dtype=np.int64 if narrow else object),
        np.array(began, dtype=np.int64),
        np.array(ended, dtype=np.int64),
        np.full(len(rows), from_us),
        np.full(len(rows), to_us),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spreading, "_AT_ONCE", at_once)
        found = together([*spread(booked, Steps(from_us - back_us, step_us))])
    named = [(str(row[0]), *row[1:]) for row in rows]
    expected = one_by_one(named, from_us, to_us, step_us, from_us - back_us)
    assert sorted(
        (str(account), step, uj) for account, step, uj in zip(*(c.tolist() for c in found), strict=True)
    ) == sorted(expected)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.one_of(st.integers(-3, 3), st.integers(0, 1 << 40)), st.integers(-9, 9)
        ),
        max_size=9,
    )
)
def test_parts_are_added_up(rows: list[tuple[int, int, int]]) -> None:
    """Of an account and step there is one sum, however far apart steps are; none that is 0."""
    parts = [Stepped(*(np.array([number]) for number in row)) for row in rows]
    found = together(parts)
    sums: dict[tuple[int, int], int] = {}
    for account, step, uj in rows:
        sums[account, step] = sums.get((account, step), 0) + uj
    assert dict(zip(zip(*(c.tolist() for c in found[:2]), strict=True), found.uj.tolist(), strict=True)) == {
        key: uj for key, uj in sums.items() if uj > 0
    }


def test_steps_beyond_counting_are_refused() -> None:
    """Sums that could not be told apart are never made."""
    far = Stepped(np.array([0, 1]), np.array([0, 1 << 62]), np.array([1, 1]))
    with pytest.raises(OverflowError, match="2 accounts over"):
        together([far])


@given(st.lists(st.integers(0, 99)))
def test_places_are_in_order(numbers: list[int]) -> None:
    """Each number has its place among those that there are."""
    which, place = places(np.array(numbers, dtype=np.int64))
    assert which.tolist() == sorted(set(numbers))
    assert which[place].tolist() == numbers
