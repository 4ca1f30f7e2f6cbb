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
    """The values of Reports on top of each other and side by side, and their layouts' arrays made to fit.

    sides are on top of each other. What stands in one of them is of one kind of layout, as if it were one
    Report of more ticks; all of them hold as many Reports, of as many ticks.
    """

    def __init__(self, sides: Sequence[Sequence[Readings]]) -> None:
        self.layouts = [side[0].layout for side in sides]
        self.pieces = len(sides[0])
        self.interval_us = np.stack([np.concatenate([r.interval_us for r in side]) for side in sides])
        self._ticks = self.interval_us.shape[1] // self.pieces
        # The last row is all zeros: what a series that is not sent reads as.
        self.values = np.concatenate(
            [
                *(np.stack([r.values for r in side], axis=1) for side in sides),
                np.zeros((1, self.pieces, self._ticks + 1), dtype=np.int64),
            ]
        )
        self.first_row = np.cumsum([0, *(len(layout.is_counter) for layout in self.layouts[:-1])])

    def counts(self, of: Callable[[NodeLayout], int]) -> Ints:
        return np.array([of(layout) for layout in self.layouts], dtype=np.int64)

    def join(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        return _joined([of(y) for y in self.layouts])

    def rows(self, of: Callable[[NodeLayout], Ints]) -> Ints:
        """Return rows of the stacked values for row numbers of the layouts."""
        return self._moved(of, self.first_row, len(self.values) - 1)

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
        return self.values[rows, :, 1:].reshape(len(rows), self.interval_us.shape[1])

    def gauges(self, rows: Ints) -> Ints:
        levels = np.cumsum(self.values[rows], axis=2)[:, :, 1:]
        return np.asarray(levels.reshape(len(rows), self.interval_us.shape[1]))

    def by_piece(self, values: Ints) -> Ints:
        """Add ticks, the last axis of values, up by the Report that they belong to."""
        return np.asarray(values.reshape(*values.shape[:-1], self.pieces, self._ticks).sum(axis=-1))


def _joined(parts: Sequence[Ints]) -> Ints:
    """Join arrays; layouts of a kind share theirs, so it is mostly one array many times."""
    first = parts[0]
    if all(part is first for part in parts):
        return np.tile(first, len(parts))
    return np.concatenate(parts)


def add_up(values: Ints, place: Ints, places: int) -> Ints:
    """Add rows of values (n, …) up by place; a place of -1 is left out."""
    total = np.zeros((places, *values.shape[1:]), dtype=np.int64)
    kept = np.flatnonzero(place >= 0)
    if not len(kept):
        return total
    own = place[kept]
    if (own[1:] < own[:-1]).any():
        order = np.argsort(own, kind="stable")
        kept, own = kept[order], own[order]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    rows = values if len(kept) == len(values) and (np.diff(kept) == 1).all() else values[kept]
    total[own[starts]] = rows if len(starts) == len(own) else np.add.reduceat(rows, starts, axis=0)
    return total
