"""An embedded store's file, whatever version its tables are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from joulebook.collector.store.protocol import StoreError


def connect(path: Path | str) -> duckdb.DuckDBPyConnection:
    """Open a file, or memory for a path of ':memory:'. Raises StoreError."""
    try:
        return duckdb.connect(str(path))
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
