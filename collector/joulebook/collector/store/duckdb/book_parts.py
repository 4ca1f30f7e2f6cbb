"""SQL for what accounts received in a range: days, hours, minutes and rows, each where no wider one fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.ledger_sums import (
    EACH,
    ENERGY_UJ,
    GAP_HAS_ENERGY,
    GAP_UJ,
    NAMES,
    OF_GAPS,
    OF_ROWS,
)
from joulebook.collector.store.duckdb.rolls import DAY_US, HOUR_US, MINUTE_US
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.ladder import Piece, kept, pieces

UNATTRIBUTED = "(SELECT account_id FROM accounts WHERE account = 'unattributed')"


_ALL_KEPT = BooksKept()


@dataclass(frozen=True, slots=True)
class Marks:
    """Up to which interval all is rolled up."""

    total_id: int = 0
    minute_id: int = 0
    hour_id: int = 0
    day_id: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """What is asked for, of a row as it is, of rows added up, of what is added up already, and of gaps."""

    each: str
    of_rows: str
    of_sums: str
    of_gaps: str


EVERYTHING = Columns(EACH, OF_ROWS, NAMES, OF_GAPS)
ENERGY = Columns(
    f"{ENERGY_UJ} AS energy_uj",
    f"({' + '.join(f'sum({name})' for name in ENERGIES)})::HUGEINT AS energy_uj",
    f"{' + '.join(ENERGIES)} AS energy_uj",
    f"sum({GAP_UJ})::HUGEINT AS energy_uj",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """Makes parts that are to be added up, by account_id, by node_id or by both.

    own and own_gaps are conditions on what is counted. No marks: all rows are read. Buckets that are wider
    than the widest are left out. kept says of what there are minutes and rows.
    """

    keys: Sequence[str]
    columns: Columns
    marks: Marks | None
    fleet: bool
    own: str = ""
    own_gaps: str = ""
    widest_us: int = DAY_US
    kept: BooksKept = _ALL_KEPT

    def within(self, from_us: int, to_us: int, *, gaps: bool) -> Iterator[str]:
        """Give the parts of (from_us, to_us]. Raises StoreError where what they need is forgotten."""
        named, columns, marks = ", ".join(self.keys), self.columns, self.marks or Marks()
        mark = marks.minute_id if self.fleet else marks.hour_id
        widths = (DAY_US, HOUR_US, MINUTE_US) if self.fleet else (DAY_US, HOUR_US)
        fitting = [width for width in widths if width <= self.widest_us] if self.marks else []
        since_us = {MINUTE_US: self.kept.minutes_us}
        for piece in kept(pieces(from_us, to_us, fitting), since_us, self.kept.rows_us if self.marks else 0):
            if piece.width_us:
                for table, newer in self._tables(piece.width_us, marks):
                    ended = within("bucket_us", piece)
                    yield f"SELECT {named}, {columns.of_sums} FROM {table} WHERE {ended}{newer}{self.own}"
            elif self.marks:
                ended = within("end_unix_us", piece)
                yield (
                    f"SELECT {named}, {columns.of_rows} FROM ledger "
                    f"WHERE interval_id < {mark} AND {ended}{self.own} GROUP BY ALL"
                )
        ended = within("end_unix_us", Piece(0, from_us, to_us))
        yield f"SELECT {named}, {columns.each} FROM ledger WHERE interval_id >= {mark} AND {ended}{self.own}"
        if gaps:
            yield self.gaps(ended + self.own_gaps)

    def by_rows(self, from_us: int, to_us: int, *, gaps: bool) -> Iterator[str]:
        """Give the parts of (from_us, to_us] as rows have them, or nodes' hours where rows are forgotten."""
        if from_us < self.kept.rows_us:
            before = replace(self, fleet=False, widest_us=HOUR_US)
            yield from before.within(from_us, min(to_us, self.kept.rows_us), gaps=gaps)
        if to_us > self.kept.rows_us:
            rows = replace(self, marks=None, fleet=False)
            yield from rows.within(max(from_us, self.kept.rows_us), to_us, gaps=gaps)

    def gaps(self, condition: str) -> str:
        """Return the part of gaps."""
        named = ", ".join(f"{UNATTRIBUTED} AS {key}" if key == "account_id" else key for key in self.keys)
        return (
            f"SELECT {named}, {self.columns.of_gaps} FROM gap_ledger WHERE {condition} AND {GAP_HAS_ENERGY} "
            "GROUP BY ALL HAVING count(*) > 0"
        )

    def _tables(self, width_us: int, marks: Marks) -> list[tuple[str, str]]:
        """Return where buckets of a width are, and which of narrower ones are not in wider ones yet."""
        owner = "fleet" if self.fleet else "node"
        found = []
        if width_us == DAY_US:
            found.append((f"{owner}_days", ""))
        if width_us >= HOUR_US:
            newer = f" AND from_id >= {marks.day_id}" if width_us > HOUR_US else ""
            found.append((f"{owner}_hours", newer))
        if self.fleet:
            newer = f" AND from_id >= {marks.hour_id}" if width_us > MINUTE_US else ""
            found.append((f"{owner}_minutes", newer))
        return found


def within(column: str, piece: Piece) -> str:
    """Return SQL for (from, to]; a bucket is named by its end."""
    return f"{column} > {piece.from_us} AND {column} <= {piece.to_us}"
