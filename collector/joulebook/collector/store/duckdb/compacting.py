"""Give back the room that forgotten rows left in an embedded store's file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

from joulebook.collector.store.duckdb.checkpoints import checkpoint
from joulebook.collector.store.duckdb.copy import copy_file
from joulebook.collector.store.duckdb.file import connect
from joulebook.collector.store.duckdb.files import sync
from joulebook.collector.store.protocol import NoRoomError, StoreError


@dataclass(frozen=True, slots=True)
class Compacted:
    """How large a file was, and is."""

    before_bytes: int
    after_bytes: int


def compact(path: Path) -> Compacted:
    """Put a copy of what is in a file in its place; nobody else may have it open. Raises StoreError.

    Whatever goes wrong, and whenever, the file is the old one or the new one, whole.
    """
    # What a link leads to is replaced, not the link.
    path = path.resolve()
    fresh = path.with_name(f"{path.name}.compacting")
    log = Path(f"{path}.wal")
    try:
        for left in (fresh, Path(f"{fresh}.wal")):
            left.unlink(missing_ok=True)
        with connect(path) as connection:
            # What is in the log is in the file then, and is copied with it.
            checkpoint(connection, path)
            before_bytes = path.stat().st_size
            _check_room(connection, path)
            copy_file(connection, fresh)
            _compare(connection, fresh)
        if log.exists():
            raise StoreError(f"store {path}: its log {log.name} is still there; the file is as it was")
        fresh.chmod(path.stat().st_mode)
        _own_like(fresh, path)
        after_bytes = fresh.stat().st_size
        fresh.rename(path)
        sync(path.parent)
        return Compacted(before_bytes, after_bytes)
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"store {path}: not compacted ({error}); the file is as it was") from error
    finally:
        fresh.unlink(missing_ok=True)


def _check_room(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    ((used,),) = connection.execute(
        "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchall()
    free = shutil.disk_usage(path.parent).free
    if free < used:
        raise NoRoomError(
            f"store {path}: {used >> 20} MiB of it are in use and are copied, and {free >> 20} MiB are free "
            "beside it; make room first"
        )


def _compare(connection: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    """Read both files, table by table. Raises StoreError where they differ."""

    def told(other: duckdb.DuckDBPyConnection) -> dict[str, tuple[object, ...]]:
        names = other.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
        return {
            name: other.execute(f'SELECT count(*), sum(hash(t)::HUGEINT) FROM "{name}" AS t').fetchall()[0]
            for (name,) in names
        }

    with duckdb.connect(str(fresh), read_only=True) as copy:
        if told(copy) != told(connection):
            raise StoreError(f"store {fresh}: is not what it was copied from; the file is as it was")


def _own_like(fresh: Path, path: Path) -> None:
    if os.geteuid() == 0:
        own = path.stat()
        os.chown(fresh, own.st_uid, own.st_gid)
