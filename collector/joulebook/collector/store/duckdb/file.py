"""An embedded store's file, whatever version its tables are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from joulebook.collector.store.duckdb.migrations.migration import version_of
from joulebook.collector.store.duckdb.migrations.steps import released
from joulebook.collector.store.protocol import StoreError


def connect(path: Path | str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a file, or memory for a path of ':memory:'. Raises StoreError."""
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        raise StoreError(
            f"store {path}: cannot be opened ({error}); is another collector using it?"
        ) from error


@contextmanager
def opened(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file for the block. Raises StoreError."""
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def read_only(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file of this version for the block, to read and no more. Raises StoreError."""
    if not Path(path).is_file():
        raise StoreError(f"store {path}: no such file")
    connection = connect(path, read_only=True)
    try:
        found, newest = version_of(connection, path, released()), len(released())
        if found != newest:
            raise StoreError(
                f"store {path}: its tables are of version {found}, expected {newest}; "
                "say `joulebook store migrate` first"
            )
        yield connection
    finally:
        connection.close()
