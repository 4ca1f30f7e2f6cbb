"""Rows on their way into a table."""

from __future__ import annotations

import duckdb
import pyarrow as pa


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Insert rows by their columns' names, in the caller's transaction."""
    if not rows.num_rows:
        return
    connection.register("staged", rows)
    names = ", ".join(rows.column_names)
    connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM staged")
    connection.unregister("staged")
