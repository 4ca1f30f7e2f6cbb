"""What jobs may have had of the time between two Reports that do not meet.

What was drawn then is booked to nobody (gaps.py), though who was there caused it. So a job's figure is too
low, by about what it drew on both sides, and its ± is to say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.ledger.uncertainty import DEVIATIONS, DEVIATIONS_ABOVE


@dataclass(frozen=True, slots=True)
class Start:
    """When a Report began, µs on the clock of one boot of its node."""

    boot: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class _Missed:
    """What a job may have had of a hole, µJ, and the row of a Report beside it that is to say so."""

    account: str
    row: int
    energy_uj: float


def with_holes(books: Books, readings: Sequence[Readings], starts: Sequence[Start]) -> Books:
    """Return books of a node's Reports whose ± have what each job may have had while none came.

    The truth of a figure that is too low by h, and known to a deviation σ, is 1.96 σ about it, or, where h is
    more than a third of σ, up to h + 1.645 σ above it: nothing of h can make the figure too high.
    """
    missed = list(_missed(books, readings, starts))
    if not missed:
        return books
    low_uj: dict[str, float] = defaultdict(float)
    for one in missed:
        low_uj[one.account] += one.energy_uj
    known_uj = dict.fromkeys(low_uj, 0)
    for account, uj in zip(books.account, books.systematic_uj.tolist(), strict=True):
        if account in known_uj:
            known_uj[account] += uj
    # Of each job: by what part of its holes its ± is wider than it was.
    part = {
        account: max(uj - known_uj[account] * (1 - DEVIATIONS_ABOVE / DEVIATIONS), 0.0) / max(uj, 1.0)
        for account, uj in low_uj.items()
    }
    systematic_uj = books.systematic_uj.copy()
    for one in missed:
        systematic_uj[one.row] += round(one.energy_uj * part[one.account])
    return replace(books, systematic_uj=systematic_uj)


def _missed(books: Books, readings: Sequence[Readings], starts: Sequence[Start]) -> Iterator[_Missed]:
    """Give what each job may have had of each hole: as much as it drew on both sides.

    Who is on one side only began or ended in the hole, and may have been there for all of it.
    """
    order = sorted(range(len(starts)), key=lambda i: (starts[i].boot, starts[i].at_us))
    lengths_us = [int(one.interval_us.sum()) for one in readings]
    first_row = np.searchsorted(books.report, np.arange(len(readings) + 1)).tolist()
    for before, after in pairwise(order):
        end_us = starts[before].at_us + lengths_us[before]
        hole_us = starts[after].at_us - end_us
        if starts[before].boot != starts[after].boot or hole_us <= 0:
            continue
        rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for report in (before, after):
            for row in range(*first_row[report : report + 2]):
                if books.account[row] not in FIXED_ACCOUNTS:
                    rows[books.account[row]].append((row, report))
        for account, own in rows.items():
            drawn_uj = sum(int(books.active_uj[row].sum() + books.idle_uj[row].sum()) for row, _ in own)
            beside_us = sum(lengths_us[report] for _, report in own)
            yield _Missed(account, own[0][0], drawn_uj * hole_us / max(beside_us, 1))
