"""Forget what of the books wider buckets have: rows of the ledger, then minutes and narrow cells.

First a transaction says up to where; answers rest on nothing of it from then on. Then the rows go, some at a
time, so that commits wait for none of it long. What comes late for a time that is forgotten is booked like
anything, and its rows go too once they are added up.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from joulebook.collector.store.duckdb.ledger_sums import WATCHED, WATCHED_OF_SUMS, ceiling
from joulebook.collector.store.duckdb.rolls import DAY_US, HOUR_US
from joulebook.collector.store.duckdb.store import DuckDBStore

# As many Reports' rows go in a step.
_AT_ONCE = 4_000
# How long cells of 5 s are kept: who asks for such short steps looks at the last hours.
_NARROW_US = 2 * DAY_US
# As much time of minutes and cells.
_SLICE_US = 6 * HOUR_US
# What is added up by hour.
_IN_HOURS = "from_id < (SELECT hour_id FROM added_up)"


def forget_rows(store: DuckDBStore, until_us: int) -> Iterator[str]:
    """Forget the rows of Reports that ended up to a whole hour, of those that are added up; say each step."""
    ((before_us,),) = store._rows("SELECT rows_unix_us FROM forgotten_books")
    if until_us > before_us:
        with store.writing() as connection:
            connection.execute("UPDATE forgotten_books SET rows_unix_us = $1", [until_us])
        yield "forgot rows"
    numbers = [
        number
        for (number,) in store._rows(
            """
            SELECT w.interval_id FROM watched_reports AS w JOIN rolled AS r ON node_id % 16 = part, added_up
            WHERE end_unix_us <= $1 AND w.interval_id <= r.interval_id
                AND w.interval_id < least(total_id, hour_id) ORDER BY w.interval_id
            """,
            [max(until_us, before_us)],
        )
    ]
    for begin in range(0, len(numbers), _AT_ONCE):
        some = numbers[begin : begin + _AT_ONCE]
        with store.writing() as connection:
            for table in ("ledger", "watched_reports"):
                # The bounds let whole stretches of the table be skipped.
                connection.execute(
                    f"DELETE FROM {table} WHERE interval_id BETWEEN $1 AND $2 "
                    "AND interval_id IN (SELECT unnest($3::BIGINT[]))",
                    [some[0], some[-1], some],
                )
        yield "removed rows"


def forget_minutes(store: DuckDBStore, until_us: int) -> Iterator[str]:
    """Forget minutes, and cells narrower than hours, up to a whole hour; say each step."""
    ((before_us,),) = store._rows("SELECT minutes_unix_us FROM forgotten_books")
    if until_us > before_us:
        with store.writing() as connection:
            connection.execute("UPDATE forgotten_books SET minutes_unix_us = $1", [until_us])
        yield "forgot minutes of the books"
    until_us = max(until_us, before_us)
    if not until_us:
        return
    for table, at, end, own in (
        # Buckets are named by their end, which is in them, and cells by their start.
        ("fleet_minutes", "bucket_us", 1, _IN_HOURS),
        ("fleet_cell_minutes", "cell_us", 0, "true"),
        ("node_cells", "cell_us", 0, "true"),
    ):
        of = f"FROM {table} WHERE {at} < $1 AND {own}"
        slices = f"SELECT DISTINCT ({at} - {end}) // {_SLICE_US} {of} ORDER BY 1"
        for (number,) in store._rows(slices, [until_us + end]):
            end_us = min((number + 1) * _SLICE_US, until_us)
            with store.writing() as connection:
                connection.execute(f"DELETE {of} AND {at} >= $2", [end_us + end, number * _SLICE_US + end])
            yield "removed minutes of the books"
    # There are no hours of how all nodes were watched: a row an hour takes the place of those by minute.
    of = f"FROM watched_minutes WHERE bucket_us <= $1 AND {_IN_HOURS}"
    if store._rows(f"SELECT 1 {of} AND bucket_us % {HOUR_US} <> 0 LIMIT 1", [until_us]):
        with store.writing() as connection:
            connection.execute(
                f"CREATE TEMP TABLE watched_before AS SELECT {ceiling('bucket_us', HOUR_US)} AS hour_us, "
                f"{WATCHED_OF_SUMS} {of} GROUP BY ALL",
                [until_us],
            )
            connection.execute(f"DELETE {of}", [until_us])
            connection.execute(
                f"INSERT INTO watched_minutes (from_id, bucket_us, {', '.join(WATCHED)}) "
                "SELECT -1, * FROM watched_before"
            )
            connection.execute("DROP TABLE watched_before")
        yield "added minutes of watching up"


def forget_narrow(store: DuckDBStore, now_us: int) -> Iterator[str]:
    """Forget cells of 5 s, of which there are most; rows answer for what only they could."""
    before_us = (now_us - _NARROW_US) // HOUR_US * HOUR_US
    ((forgotten_us,),) = store._rows("SELECT narrow_unix_us FROM forgotten_cells")
    if before_us > forgotten_us:
        with store.writing() as connection:
            forget_narrow_cells(connection, before_us)
        yield "forgot narrow cells"


def forget_narrow_cells(connection: duckdb.DuckDBPyConnection, before_us: int) -> None:
    """Forget the narrowest cells of what is rolled up wider, in the caller's transaction."""
    connection.execute(
        "DELETE FROM fleet_cells WHERE cell_us < $1 AND from_id < (SELECT hour_id FROM added_up)", [before_us]
    )
    connection.execute("UPDATE forgotten_cells SET narrow_unix_us = $1", [before_us])
