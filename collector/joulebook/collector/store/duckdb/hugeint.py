"""Whole numbers of 128 bits as DuckDB gives them: as numpy's wherever all fit, which is nearly always."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# int64, or objects that are Python's ints.
Whole = npt.NDArray[Any]


def whole(column: pa.ChunkedArray) -> Whole:
    """Return a column without NULLs: int64, or Python's ints where one has more bits."""
    if not pa.types.is_decimal(column.type):
        narrow: Whole = column.to_numpy().astype(np.int64, copy=False)
        return narrow
    found = []
    for chunk in column.chunks:
        # Two words each, the low one first.
        words = np.frombuffer(chunk.buffers()[1], dtype=np.int64)[2 * chunk.offset :][: 2 * len(chunk)]
        low, high = words[::2], words[1::2]
        if (high == low >> 63).all():
            found.append(low)
        else:
            found.append((high.astype(object) << 64) + low.view(np.uint64).astype(object))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def addable(values: Whole) -> Whole:
    """Return values of which any can be added up: as Python's ints where numpy's might run over."""
    if values.dtype != object and _most(values) * len(values) >= 1 << 63:
        return values.astype(object)
    return values


def _most(values: Whole) -> int:
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def added(columns: Sequence[Whole]) -> Whole:
    """Add columns up, row by row."""
    fits = all(column.dtype != object for column in columns)
    if not fits or sum(_most(column) for column in columns) >= 1 << 63:
        columns = [column.astype(object) for column in columns]
    found: Whole = np.sum(columns, axis=0)
    return found


def added_by(group: npt.NDArray[np.int64], values: Whole, groups: int) -> Whole:
    """Add values up by group."""
    addends = addable(values)
    sums = np.zeros(groups, dtype=addends.dtype)
    np.add.at(sums, group, addends)
    return sums


def largest(values: Whole, most: int, name: Callable[[int], str]) -> list[int]:
    """Return the places of the largest values, in no order; of equal ones those whose names come first."""
    if len(values) <= most:
        return list(range(len(values)))
    least = np.sort(values)[len(values) - most]
    at_least = np.flatnonzero(values >= least).tolist()
    return sorted(at_least, key=lambda place: (-values[place], name(place)))[:most]
