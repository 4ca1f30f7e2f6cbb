"""A Report as a simulated store has it."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.store.protocol import Commit

Row = tuple[str, tuple[int, ...]]
Boot = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """A Report in the store, its ledger rows, and the accounts whose revision it raised."""

    decoded: Decoded
    rows: tuple[Row, ...]
    late: frozenset[str] = frozenset()

    @property
    def boot(self) -> Boot:
        """Return whose boot clock its place is on."""
        return self.decoded.node, self.decoded.boot

    def same(self, other: Stored) -> bool:
        """Return whether two are one Report."""
        mine, its = self.decoded.readings, other.decoded.readings
        return mine.layout.hash == its.layout.hash and mine.values.tobytes() == its.values.tobytes()


def rows_of(books: Books, reports: int) -> list[tuple[Row, ...]]:
    """Return the ledger rows of each Report."""
    rows: list[list[Row]] = [[] for _ in range(reports)]
    for i, (report, account) in enumerate(zip(books.report.tolist(), books.account, strict=True)):
        figures = [*books.active_uj[i].tolist(), *books.idle_uj[i].tolist(), *books.tier_uj[i].tolist()]
        figures += [int(books.modelled_uj[i]), int(books.systematic_uj[i]), int(books.variance_uj2[i])]
        rows[report].append((account, tuple(figures)))
    return [tuple(own) for own in rows]


def stored_of(commit: Commit) -> list[Stored]:
    """Return a commit's Reports as they are to be stored."""
    late: list[set[str]] = [set() for _ in commit.reports]
    for report, account in commit.late:
        late[report].add(account)
    rows = rows_of(commit.books, len(commit.reports))
    return [
        Stored(decoded, own, frozenset(accounts))
        for decoded, own, accounts in zip(commit.reports, rows, late, strict=True)
    ]
