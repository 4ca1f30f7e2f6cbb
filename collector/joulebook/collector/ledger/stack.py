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
        self._first_row = np.cumsum([0, *(len(layout.series) for layout in self.layouts[:-1])])

    def counts(self, of: Callable[[NodeLayout], int]) -> Ints:
        return np.array([of(layout) for layout in self.layouts], dtype=np.int64)

    def join(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        return np.concatenate([of(layout) for layout in self.layouts])

    def rows(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        """Return rows of the stacked values for row numbers of the layouts."""
        zero = len(self.values) - 1
        parts = [
            np.where(rows >= 0, rows + first, zero)
            for rows, first in ((of(y), f) for y, f in zip(self.layouts, self._first_row, strict=True))
        ]
        return np.concatenate(parts)

    def places(self, of: Callable[[NodeLayout], Ints], count: Ints) -> Ints:
        """Return places among stacked things for places within each layout; -1 stays."""
        first = np.cumsum([0, *count[:-1]])
        parts = [
            np.where(at >= 0, at + f, -1)
            for at, f in ((of(y), f) for y, f in zip(self.layouts, first, strict=True))
        ]
        return np.concatenate(parts)

    def increments(self, rows: Ints) -> Ints:
        return self.values[rows, 1:]

    def gauges(self, rows: Ints) -> Ints:
        return np.cumsum(self.values[rows], axis=1)[:, 1:]


def add_up(values: Ints, place: Ints, places: int) -> Ints:
    """Add rows of values (n, t) up by place; a place of -1 is left out."""
    total = np.zeros((places, values.shape[1]), dtype=np.int64)
    kept = np.flatnonzero(place >= 0)
    np.add.at(total, place[kept], values[kept])
    return total
