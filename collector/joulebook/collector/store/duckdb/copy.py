"""A copy of an embedded store, as it is at one instant, while others read and write it."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

# What the copy is called in its directory.
FILE = "store.duckdb"


def copy_store(connection: duckdb.DuckDBPyConnection, path: Path | str, directory: Path) -> Path:
    """Copy a store that is open into a directory; return the copy's file, which is on the disk then.

    Commits go on meanwhile and are not in it. Raises duckdb.Error or OSError; what is in the directory then
    is of no use.
    """
    del path
    copy = directory / FILE
    with connection.cursor() as cursor:
        (name,) = cursor.execute("SELECT current_database()").fetchall()[0]
        cursor.execute(f"ATTACH {_literal(str(copy))} AS joulebook_copy")
        try:
            cursor.execute(f"COPY FROM DATABASE {_quoted(name)} TO joulebook_copy")
        finally:
            # It is written through, and its log is gone, when it is let go of.
            cursor.execute("DETACH joulebook_copy")
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    return copy


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
