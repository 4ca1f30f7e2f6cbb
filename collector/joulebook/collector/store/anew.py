"""A node's hour booked once more: what its Reports' rows become, and whose figure is another one then.

For stores whose rows are read, compared and written here. A Report's rows are by account what it received, µJ
as FIGURES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import FIGURES, table_of
from joulebook.collector.ledger.holes import Start
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.presence import is_running, present
from joulebook.collector.store.protocol import Range, StoreView
from joulebook.collector.store.rows import AccountRow, Superseded

HOUR_US = 3_600_000_000
# As long after its end an hour is settled: what comes late has mostly come.
SETTLES_US = 2 * HOUR_US
# What of an account may end before its job began: the interval that it began in is longer.
_MARGIN_US = 86_400_000_000
_EVER_US = 1 << 53
_COUNT = len(CLASSES)
Rows = dict[str, tuple[int, ...]]


class UnbalancedError(Exception):
    """Rows do not have what their Report measured, or are not all there."""


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a node: of each Report, in order, its readings, when it began, and its rows as they are."""

    readings: Sequence[Readings]
    starts: Sequence[Start]
    rows: Sequence[Rows]

    def anew(self, policy: Policy) -> list[Rows | None]:
        """Return each Report's rows as they are to be; None where they are so already.

        Who receives nothing any more keeps a row, so what was observed of it stays. Raises UnbalancedError
        where a Report has another energy than before, of any class.
        """
        books = settled_books(self.readings, self.starts, policy)
        if books.residual_uj.any():
            raise UnbalancedError(f"{np.count_nonzero(books.residual_uj)} Reports do not balance")
        found: list[Rows | None] = []
        for was, now in zip(self.rows, _rows_of(books, len(self.rows)), strict=True):
            if _sums(was.values()) != _sums(now.values()):
                raise UnbalancedError("the rows of a Report have another energy than its readings")
            for account in was.keys() - now.keys():
                now[account] = (0,) * len(FIGURES)
            found.append(None if now == was else now)
        return found


def differences(pairs: Iterable[tuple[Rows, Rows]]) -> Counter[str]:
    """Return by how much accounts' energy differs, in µJ, of rows as they were and as they are to be."""
    differs: Counter[str] = Counter()
    for was, now in pairs:
        for sign, rows in ((-1, was), (1, now)):
            for account, row in rows.items():
                differs[account] += sign * sum(row[: 2 * _COUNT])
    return differs


def _rows_of(books: Books, reports: int) -> list[Rows]:
    found: list[Rows] = [{} for _ in range(reports)]
    for report, account, row in zip(
        books.report.tolist(), books.account, table_of(books).tolist(), strict=True
    ):
        found[report][account] = tuple(row)
    return found


def _sums(rows: Collection[tuple[int, ...]]) -> list[int]:
    """Return what rows have of each class: what of it was caused and what is floor is told apart anew."""
    sums = [sum(column) for column in zip(*rows, strict=True)][: 2 * _COUNT] or [0] * (2 * _COUNT)
    return [active + idle for active, idle in zip(sums[:_COUNT], sums[_COUNT:], strict=True)]


def final_jobs(view: StoreView, accounts: Collection[str]) -> set[str]:
    """Return the jobs among some accounts that have ended wherever they were."""
    jobs = {account.removeprefix("job:") for account in accounts if account.startswith("job:")}
    if not jobs:
        return jobs
    places = view.places((), jobs, jobs)
    there = present(places.nodes)
    return jobs.difference(row.job for row in places.jobs if is_running(row, there))


def figures(view: StoreView, jobs: Collection[str]) -> dict[str, tuple[int, int, int]]:
    """Return what each of some jobs received: energy, and how well that is known, in µJ and µJ²."""
    found = dict.fromkeys(jobs, (0, 0, 0))
    for place in view.jobs(jobs) if jobs else ():
        within = Range(place.start_unix_us - _MARGIN_US, _EVER_US, place.node, f"job:{place.job}")
        for row in view.accounts(within):
            found[place.job] = _added(found[place.job], row)
    return found


def _added(sums: tuple[int, int, int], row: AccountRow) -> tuple[int, int, int]:
    energy_uj, systematic_uj, variance_uj2 = sums
    energy_uj += sum(row.active_uj) + sum(row.idle_uj)
    return energy_uj, systematic_uj + row.systematic_uj, variance_uj2 + row.variance_uj2


def superseded(
    view: StoreView, were: Mapping[str, tuple[int, int, int]], unix_us: int
) -> dict[str, Superseded]:
    """Return the figures of jobs that other ones are about to replace, with their revisions as they are."""
    revisions = view.revisions(list(were)) if were else {}
    return {
        job: Superseded(revisions[job].number if job in revisions else 1, *own, unix_us)
        for job, own in were.items()
    }
