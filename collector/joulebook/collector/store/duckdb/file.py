"""An embedded store's file, whatever version its tables are of."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from joulebook.collector.store.duckdb import checkpoints, doublewrite, log_end, torn_log
from joulebook.collector.store.duckdb.files import sync
from joulebook.collector.store.duckdb.migrations.migration import version_of
from joulebook.collector.store.duckdb.migrations.steps import released
from joulebook.collector.store.protocol import NoRoomError, StoreError

_UNFINISHED = ".unfinished"


def connect(path: Path | str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a file, or memory for a path of ':memory:'. Raises StoreError."""
    try:
        if not (read_only or path == ":memory:" or Path(path).exists()):
            _make(Path(path))
        if str(path) != ":memory:":
            doublewrite.mend(Path(path), read_only=read_only)
            log_end.check(Path(path), read_only=read_only)
        connection = _opened(path, read_only)
        checkpoints.keep_off(connection)
        # Files of blocks never change: what is in them need not be read off them at each question.
        connection.execute("SET parquet_metadata_cache = true")
        return connection
    except duckdb.Error as error:
        if no_room(error):
            raise NoRoomError(f"store {path}: no room on its disk ({str(error).splitlines()[0]})") from error
        raise StoreError(
            f"store {path}: cannot be opened ({error}); is another collector using it?"
        ) from error


def _opened(path: Path | str, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open a file, also where a power cut tore the last commit in its log."""
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.Error as error:
        if not torn_log.mend(path, error, read_only=read_only):
            raise
        return duckdb.connect(str(path))


def _make(path: Path) -> None:
    """Make an empty file under another name, and give it its own when it is whole.

    What DuckDB had of a new file when it was killed, or the disk was full, it never opens again.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        duckdb.connect(str(fresh)).close()
        try:
            os.link(fresh, path)
        except FileExistsError:
            # Another collector made it the while, and may be using it.
            pass
        except OSError:
            # Not every file system gives a file two names.
            fresh.rename(path)
        sync(path.parent)
        for left in path.parent.glob(f"{glob.escape(path.name)}.????????{_UNFINISHED}"):
            left.unlink(missing_ok=True)
    finally:
        fresh.unlink(missing_ok=True)


def no_room(error: Exception) -> bool:
    """Say whether DuckDB failed for want of room on the disk; it tells by its message alone."""
    return "No space left on device" in str(error)


@contextmanager
def opened(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file for the block; its log is written into it at the end. Raises StoreError."""
    connection = connect(path)
    try:
        yield connection
        checkpoints.Checkpoints(path).make(connection)
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
