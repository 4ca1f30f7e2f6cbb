"""What is asked of how nodes were watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from joulebook.collector.store.duckdb.book_parts import Marks, within
from joulebook.collector.store.duckdb.ledger_sums import WATCHED, WATCHED_OF_ROWS, WATCHED_OF_SUMS
from joulebook.collector.store.duckdb.rolls import HOUR_US, MINUTE_US
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.ladder import Piece, kept, pieces
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import TimeRow

_NO_GAP = ", 0::HUGEINT AS gap_us, 0::HUGEINT AS missing_us"


class WatchReads:
    """The part of the reading half that tells how well nodes were watched."""

    if TYPE_CHECKING:
        _added_up: bool

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _number(self, table: str, name: str) -> int | None: ...

        def _marks_of_sums(self) -> Marks: ...

        def books_kept(self) -> BooksKept: ...

    def watched(self, selected: Range) -> list[TimeRow]:
        """Return how each node was watched."""
        return self._watched(selected, by_node=True)

    def _watched(self, selected: Range, *, by_node: bool) -> list[TimeRow]:
        """Return how nodes were watched, each or all of them."""
        own = ""
        if selected.node is not None:
            if (number := self._number("node", selected.node)) is None:
                return []
            own = f" AND node_id = {number}"
        key = "node_id" if by_node else "0 AS node_id"
        fleet = not by_node and selected.node is None
        parts = [
            *(
                f"SELECT {key}, {sums}{_NO_GAP} FROM {table} WHERE {condition}{own} GROUP BY ALL"
                for table, sums, condition in self._watched_parts(selected, fleet=fleet)
            ),
            f"SELECT {key}, 0, 0, sum(raised_uj)::HUGEINT, "
            "sum(duration_us)::HUGEINT, sum(missing_us)::HUGEINT "
            f"FROM gap_ledger WHERE {_ended(selected)}{own} GROUP BY ALL",
        ]
        sums = ", ".join(f"coalesce(sum({name}), 0)::HUGEINT" for name in [*WATCHED, "gap_us", "missing_us"])
        rows = self._rows(
            f"SELECT coalesce(node, ''), {sums} FROM ({' UNION ALL '.join(parts)}) "
            f"{'JOIN nodes USING (node_id)' if by_node else 'LEFT JOIN (SELECT NULL AS node) ON true'} "
            "GROUP BY 1 ORDER BY 1"
        )
        return [
            TimeRow(node, reported, unread, gap_us, missing, raised)
            for node, reported, unread, raised, gap_us, missing in rows
        ]

    def _watched_parts(self, selected: Range, *, fleet: bool) -> Iterator[tuple[str, str, str]]:
        """Give tables, what to add up of them, and which of their rows."""
        marks, books = self._marks_of_sums(), self.books_kept()
        ended = _ended(selected)
        if not self._added_up:
            # Rows, and nodes' hours where rows are forgotten.
            for piece in _by(HOUR_US, selected.from_us, min(selected.to_us, books.rows_us), books):
                yield "watched_hours", WATCHED_OF_SUMS, within("bucket_us", piece)
            own = f"(end_unix_us > {books.rows_us} OR interval_id >= {marks.hour_id})"
            yield "watched_reports", WATCHED_OF_ROWS, f"{ended} AND {own}"
            return
        table, width_us = ("watched_minutes", MINUTE_US) if fleet else ("watched_hours", HOUR_US)
        mark = marks.minute_id if fleet else marks.hour_id
        if fleet:
            # Minutes that are forgotten are added up by hour in the same table, so whole hours find them.
            _by(HOUR_US, selected.from_us, min(selected.to_us, books.minutes_us), books)
        for piece in _by(width_us, selected.from_us, selected.to_us, books):
            if piece.width_us:
                yield table, WATCHED_OF_SUMS, within("bucket_us", piece)
            else:
                of_rows = f"interval_id < {mark} AND {within('end_unix_us', piece)}"
                yield "watched_reports", WATCHED_OF_ROWS, of_rows
        yield "watched_reports", WATCHED_OF_ROWS, f"interval_id >= {mark} AND {ended}"


def _by(width_us: int, from_us: int, to_us: int, books: BooksKept) -> list[Piece]:
    """Cut a range by buckets. Raises StoreError where it needs rows that are forgotten."""
    return [*kept(pieces(from_us, to_us, (width_us,)), {}, books.rows_us)]


def _ended(selected: Range) -> str:
    return within("end_unix_us", Piece(0, selected.from_us, selected.to_us))
