"""Sums of whole numbers are exact, however large these are."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.store.duckdb.hugeint import added, added_by, largest, whole

_ANY = st.one_of(
    st.integers(-(1 << 100), 1 << 100),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-5, 5),
    st.sampled_from([(1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 1 << 64]),
)


@given(st.lists(st.lists(_ANY, max_size=5), max_size=3))
def test_a_column_comes_as_it_is(chunks: list[list[int]]) -> None:
    """Every number of a column of 38 digits is read exactly, in however many pieces the column comes."""
    arrays = [pa.array([Decimal(n) for n in chunk], pa.decimal128(38)) for chunk in chunks]
    column = pa.chunked_array(arrays, pa.decimal128(38))
    assert whole(column).tolist() == [number for chunk in chunks for number in chunk]


@given(st.lists(st.tuples(st.integers(0, 3), _ANY), max_size=12))
def test_sums_are_exact(rows: list[tuple[int, int]]) -> None:
    """Sums by group, and of columns, are those of Python's whole numbers."""
    group = np.array([g for g, _ in rows], dtype=np.int64)
    small = all(-(1 << 63) <= n < 1 << 63 for _, n in rows)
    values = np.array([n for _, n in rows], dtype=np.int64 if small else object)
    expected = [sum(n for g, n in rows if g == each) for each in range(4)]
    assert added_by(group, values, 4).tolist() == expected
    assert added([values, values, values]).tolist() == [3 * n for _, n in rows]


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 12))
def test_of_equal_ones_the_first_names_are_the_largest(values: list[int], most: int) -> None:
    """Which are the largest does not hang on the order in which they come."""
    names = [f"{(i * 7) % 13:02d}" for i in range(len(values))]
    expected = sorted(range(len(values)), key=lambda i: (-values[i], names[i]))[:most]
    found = largest(np.array(values, dtype=np.int64), most, lambda i: names[i])
    assert sorted(found) == sorted(expected)
