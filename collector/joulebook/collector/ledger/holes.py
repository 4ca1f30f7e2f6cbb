"""Holes among a node's Reports: what passed while none came is nobody's, and of whoever was there then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.domains import CLASSES, settle
from joulebook.collector.ledger.stack import Readings

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hole:
    """What is missing before a Report, by its place: energy by class (6), 0 where counters do not tell."""

    after: int
    energy_uj: Ints


def holes_of(readings: Sequence[Readings]) -> list[Hole]:
    """Find where Reports, in order of time, do not meet: energy counters ran on in between."""
    found = []
    for number, (before, after) in enumerate(pairwise(readings), start=1):
        rows = [r.layout.energy_row[r.layout.domain_booked] for r in (before, after)]
        ended, began = before.values[rows[0]].sum(axis=1), after.values[rows[1], 0]
        if before.layout.domain_names == after.layout.domain_names and np.array_equal(ended, began):
            continue
        found.append(Hole(number, _energy_uj(before, after)))
    return found


def _energy_uj(before: Readings, after: Readings) -> Ints:
    """Return by class what passed between two Reports; nothing where counters are others or began anew."""
    by_class = np.zeros(len(CLASSES), dtype=np.int64)
    layout = after.layout
    same = before.layout.domain_names == layout.domain_names
    same &= np.array_equal(before.layout.domain_booked, layout.domain_booked)
    if not same or before.layout.session_us != layout.session_us:
        return by_class
    ended = before.values[before.layout.energy_row].sum(axis=1)
    passed = np.where(layout.domain_booked, after.values[layout.energy_row, 0] - ended, 0)
    if (passed < 0).any():
        return by_class
    own, _ = settle(passed[:, None], layout.domain_parent, layout.domain_depth, layout.domain_booked)
    booked = layout.domain_class >= 0
    np.add.at(by_class, layout.domain_class[booked], own[booked, 0])
    return by_class


def allow_for(books: Books, holes: Sequence[Hole]) -> Books:
    """Widen the ± of the Reports beside each hole by what accounts may have caused in it.

    Each is taken to have gone on as before for one half of it, and as afterwards for the other.
    """
    systematic_uj = books.systematic_uj.astype(np.float64)
    received = books.active_uj + books.idle_uj
    for hole in holes:
        for beside in (hole.after - 1, hole.after):
            rows = slice(*np.searchsorted(books.report, [beside, beside + 1]).tolist())
            total = np.maximum(received[rows].sum(axis=0), 1)
            systematic_uj[rows] += received[rows] @ (hole.energy_uj / total) / 2
    return replace(books, systematic_uj=np.rint(systematic_uj).astype(np.int64))
