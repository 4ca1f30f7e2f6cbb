"""Blocks of readings give back what was put in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from joulebook.collector.store.duckdb.block import Ints, units_of

CHANGES = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 4), st.integers(1, 250)),
    elements=st.one_of(st.just(0), st.integers(-(1 << 50), 1 << 50)),
)


@given(CHANGES, st.sampled_from([1, 2, 4096, 10_000]), st.integers(0, 120))
def test_a_unit_is_the_most_that_all_have_in_common(change: Ints, unit: int, zeros: int) -> None:
    """Changes come back from whole units, and units have nothing left in common, however late a row moves."""
    change = change * unit % (1 << 60) // unit * unit
    change[:, :zeros] = 0
    units = units_of(change)
    assert (units >= 1).all()
    scaled = change // units[:, None]
    assert (scaled * units[:, None] == change).all()
    for row in scaled:
        assert np.gcd.reduce(row) in (0, 1)
