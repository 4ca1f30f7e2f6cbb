"""Empty what was added up, so that it is made anew of rows; of what rows are forgotten of, it stays."""

from __future__ import annotations

import duckdb

from joulebook.collector.store.duckdb.ledger_sums import NAMES, OF_SUMS, floor
from joulebook.collector.store.duckdb.rolls import (
    CELL_US,
    HOUR_US,
    LONG_US,
    MINUTE_US,
    NODE_CELL_US,
    spread,
)
from joulebook.collector.store.duckdb.store import DuckDBStore

# What is added up by when Reports ended, which buckets are named by the end of; and by time.
_BUCKETS = ("fleet_minutes", "fleet_hours", "node_hours", "watched_minutes", "watched_hours")
_CELLS = ("fleet_cell_minutes", "fleet_cell_hours", "node_cells", "node_cell_hours")
# What is made anew of these.
_WHOLE = ("totals", "fleet_days", "node_days", "fleet_cells", "fleet_cell_fresh")


def finish_forgetting(store: DuckDBStore) -> None:
    """Add everything up, and remove all rows that are forgotten."""
    with store.writing() as connection:
        store._rolls.roll_everything(store._next_interval)
        for table in ("ledger", "watched_reports"):
            connection.execute(
                f"DELETE FROM {table} WHERE end_unix_us <= (SELECT rows_unix_us FROM forgotten_books)"
            )


def forget_sums(connection: duckdb.DuckDBPyConnection) -> None:
    """Empty what rows are kept of, in the caller's transaction; a commit makes it anew.

    Where rows are forgotten, finish_forgetting() was called before.
    """
    ((rows_us,),) = connection.execute("SELECT rows_unix_us FROM forgotten_books").fetchall()
    _take_out_astride(connection, rows_us)
    for table in _BUCKETS:
        connection.execute(f"DELETE FROM {table} WHERE bucket_us > {rows_us}")
    for table in _CELLS:
        connection.execute(f"DELETE FROM {table} WHERE cell_us >= {rows_us}")
    for table in _WHOLE:
        connection.execute(f"DELETE FROM {table}")
    connection.execute(
        f"INSERT INTO totals (account_id, node_id, {NAMES}) SELECT account_id, node_id, {OF_SUMS} "
        "FROM node_hours GROUP BY ALL ORDER BY ALL"
    )
    # Minutes that are left are in hours, which are in no day.
    for table, from_id in (
        ("fleet_minutes", -1),
        ("watched_minutes", -1),
        ("fleet_hours", 0),
        ("node_hours", 0),
    ):
        connection.execute(f"UPDATE {table} SET from_id = {from_id}")
    connection.execute("UPDATE added_up SET total_id = 0, minute_id = 0, hour_id = 0, day_id = 0")
    connection.execute(f"UPDATE forgotten_cells SET narrow_unix_us = {rows_us}")


def _take_out_astride(connection: duckdb.DuckDBPyConnection, rows_us: int) -> None:
    """Take rows that began in what is forgotten out of the cells that stay: they are spread again."""
    astride = (
        f"end_unix_us > {rows_us} AND end_unix_us - duration_us < {rows_us} AND duration_us <= {LONG_US}"
    )
    for owner, width_us, cells in (
        ("account_id", CELL_US, (("fleet_cell_minutes", MINUTE_US), ("fleet_cell_hours", HOUR_US))),
        ("node_id, account_id", NODE_CELL_US, (("node_cells", NODE_CELL_US), ("node_cell_hours", HOUR_US))),
    ):
        connection.execute(f"CREATE TEMP TABLE astride AS SELECT {spread(owner, width_us, astride)}")
        for table, wide_us in cells:
            connection.execute(
                f"INSERT INTO {table} SELECT {floor('cell_us', wide_us)} AS wide_us, {owner}, "
                f"-sum(energy_uj)::HUGEINT FROM astride WHERE cell_us < {rows_us} GROUP BY ALL"
            )
        connection.execute("DROP TABLE astride")
