"""What is added up, against the rows that it was added up from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any

from joulebook.collector.check.finding import DAY_US, Finding
from joulebook.collector.store.duckdb.ledger_sums import floor
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rolls import HOUR_US, MINUTE_US
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.protocol import Range

_EVER = Range(0, 1 << 62)
# Of all jobs.
_MOST = 1 << 31


# A question; of each there is what is asked of all time, and what of the time from when on rows are kept.
_Question = Callable[[Reads, int, BooksKept], Any]


def _summed(view: Reads, from_us: int = 0) -> list[Any]:
    return [astuple(row) for row in view.summed(Range(from_us, _EVER.to_us), _MOST).accounts]


def _over_time(view: Reads, to_us: int, books: BooksKept) -> Any:
    return sorted(view.energy_over_time(books.rows_us, max(to_us, books.rows_us), DAY_US, None, 0))


_QUESTIONS: dict[str, _Question] = {
    "days of nodes": lambda view, *_: [astuple(row) for row in view.accounts(_EVER)],
    "hours of nodes": lambda view, *_: [astuple(row) for row in view.by_buckets(HOUR_US).accounts(_EVER)],
    "watched hours of nodes": lambda view, *_: [astuple(row) for row in view.watched(_EVER)],
    "days of all nodes": lambda view, *_: _summed(view),
    "hours of all nodes": lambda view, *_: _summed(view.by_buckets(HOUR_US)),
    "minutes of all nodes": lambda view, _, books: _summed(
        view.by_buckets(MINUTE_US), min(books.rows_us, books.minutes_us)
    ),
    "watched minutes of all nodes": lambda view, *_: astuple(view.summed(_EVER, 1).watched),
    "totals": lambda view, *_: view.energy_by_node(),
    "minutes of time": _over_time,
    "hours of time": lambda view, to_us, books: _over_time(view, to_us + HOUR_US, books),
}
# Cells of time that must add up to the hours of all nodes, whether rows are kept or not.
_MINUTES_KEPT = "cell_us >= (SELECT minutes_unix_us FROM forgotten_books)"
_CELLS = (
    ("hours of time, of nodes", "node_cell_hours", "true"),
    ("10 minutes of time, of nodes", "node_cells", _MINUTES_KEPT),
    ("minutes of time, of all nodes", "fleet_cell_minutes", _MINUTES_KEPT),
)


def wrong_sums(view: Reads) -> Iterator[Finding]:
    """Give what is added up otherwise than the rows say, or the widest sums where rows are forgotten."""
    last_us = max((row.last_unix_us for row in view.nodes()), default=0)
    rows, books = view.by_rows(), view.books_kept()
    for what, question in _QUESTIONS.items():
        found, expected = question(view, last_us, books), question(rows, last_us, books)
        if found != expected:
            every = found if isinstance(found, list) else [found]
            odd = [one for one in every if not isinstance(expected, list) or one not in expected]
            shown = odd[0] if odd else "less"
            yield Finding("sums", "", "", f"{what}: {shown}", "what the rows of the ledger add up to")
    for what, table, kept in _CELLS:
        if odd := view._rows(_apart(table, kept)):
            yield Finding("sums", "", "", f"{what}: {odd[0]}", "what hours of all nodes have")


def _apart(table: str, kept: str) -> str:
    """Return SQL for (hour_us, account_id, µJ) by which other cells miss the hours of all nodes."""
    hour = floor("cell_us", HOUR_US)
    return f"""
        SELECT hour_us, account_id, sum(uj)::HUGEINT AS uj FROM (
            SELECT cell_us AS hour_us, account_id, energy_uj AS uj FROM fleet_cell_hours WHERE {kept}
            UNION ALL SELECT {hour}, account_id, -energy_uj FROM {table} WHERE {kept})
        GROUP BY ALL HAVING sum(uj) <> 0 ORDER BY ALL LIMIT 1"""
