"""What meters counted between Reports of which some never came, told from the counters themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.domains import root_energy_uj
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS
from joulebook.collector.ledger.stack import Readings

Ints = npt.NDArray[np.int64]


def with_unseen(books: Books, readings: Sequence[Readings]) -> Books:
    """Return books whose ± have each job's likely part of what was drawn while no Report came.

    readings are a node's, in order of time. The energy itself is booked elsewhere, to nobody. A job that is
    there before and after is taken to have had of it what it had of both Reports together.
    """
    systematic_uj = books.systematic_uj.copy()
    ends = np.searchsorted(books.report, np.arange(len(readings) + 1)).tolist()
    for number, unseen_uj in _unseen_uj(readings):
        before, after = (_booked_uj(books, ends, i) for i in (number, number + 1))
        total_uj = sum(uj for _, uj in (*before.values(), *after.values()))
        for account in (before.keys() & after.keys()).difference(FIXED_ACCOUNTS):
            row, own_uj = before[account][0], before[account][1] + after[account][1]
            systematic_uj[row] += unseen_uj * own_uj // max(total_uj, 1)
    return replace(books, systematic_uj=systematic_uj)


def _unseen_uj(readings: Sequence[Readings]) -> Iterator[tuple[int, int]]:
    """Give the place of each Report after which some is missing, with what was drawn until the next one.

    Counters go on from Report to Report of a session; where the agent began again they say nothing.
    """
    for number, (one, other) in enumerate(pairwise(readings)):
        y, z = one.layout, other.layout
        if (y.session_us, y.domain_names) != (z.session_us, z.domain_names):
            continue
        names = [n for n, is_booked in zip(y.domain_names, y.domain_booked, strict=True) if is_booked]
        last = one.values[y.energy_row[y.domain_booked]].sum(axis=1)
        first = other.values[z.energy_row[z.domain_booked], 0]
        grown = np.maximum(first - last, 0)
        if grown.any():
            yield number, int(root_energy_uj(grown[:, None], names)[0] if y.has_containers else grown.sum())


def _booked_uj(books: Books, ends: list[int], report: int) -> dict[str, tuple[int, int]]:
    """Return the row of each account of a Report, and what it received."""
    rows = range(ends[report], ends[report + 1])
    return {books.account[i]: (i, int(books.active_uj[i].sum() + books.idle_uj[i].sum())) for i in rows}
