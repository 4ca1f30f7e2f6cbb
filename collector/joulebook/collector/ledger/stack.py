"""Several Reports as one set of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import NodeLayout

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Readings:
    """What one Report says: interval lengths (ticks) and values (series, ticks + 1).

    The first column holds the readings at the start, the others differences.
    """

    layout: NodeLayout
    interval_us: Ints
    values: Ints


class Stack:
    """The values of several Reports on top of each other, and their layouts' arrays made to fit."""

    def __init__(self, readings: Sequence[Readings]) -> None:
        self.layouts = [r.layout for r in readings]
        self.interval_us = np.stack([r.interval_us for r in readings])
        ticks = self.interval_us.shape[1]
        # The last row is all zeros: what a series that is not sent reads as.
        self.values = np.concatenate(
            [*(r.values for r in readings), np.zeros((1, ticks + 1), dtype=np.int64)], axis=0
        )
        self._first_row = np.cumsum([0, *(len(layout.is_counter) for layout in self.layouts[:-1])])

    def counts(self, of: Callable[[NodeLayout], int]) -> Ints:
        return np.array([of(layout) for layout in self.layouts], dtype=np.int64)

    def join(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        return _joined([of(y) for y in self.layouts])

    def rows(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        """Return rows of the stacked values for row numbers of the layouts."""
        return self._moved(of, self._first_row, len(self.values) - 1)

    def places(self, of: Callable[[NodeLayout], Ints], count: Ints) -> Ints:
        """Return places among stacked things for places within each layout; -1 stays."""
        return self._moved(of, np.cumsum([0, *count[:-1]]), -1)

    def _moved(self, of: Callable[[NodeLayout], Ints], by: Ints, none: int) -> Ints:
        """Return every layout's numbers, moved by as much as it has; none for those below 0."""
        numbers = [of(y) for y in self.layouts]
        joined = _joined(numbers)
        moved = joined + np.repeat(by, [len(own) for own in numbers])
        return np.where(joined >= 0, moved, none)

    def increments(self, rows: Ints) -> Ints:
        return self.values[rows, 1:]

    def gauges(self, rows: Ints) -> Ints:
        return np.cumsum(self.values[rows], axis=1)[:, 1:]


def _joined(parts: Sequence[Ints]) -> Ints:
    """Join arrays; layouts of a kind share theirs, so it is mostly one array many times."""
    first = parts[0]
    if all(part is first for part in parts):
        return np.tile(first, len(parts))
    return np.concatenate(parts)


def add_up(values: Ints, place: Ints, places: int) -> Ints:
    """Add rows of values (n, t) up by place; a place of -1 is left out."""
    total = np.zeros((places, values.shape[1]), dtype=np.int64)
    kept = np.flatnonzero(place >= 0)
    np.add.at(total, place[kept], values[kept])
    return total
