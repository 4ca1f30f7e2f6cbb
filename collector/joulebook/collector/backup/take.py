"""Take a backup: one state of the books, under a temporary name until it is whole and on the disk."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import duckdb

from joulebook.collector.backup.manifest import (
    BackupError,
    Manifest,
    Newest,
    described,
    sync_directory,
    write,
)
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.copy import FILE
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.migrations.steps import released
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.protocol import Range, Store, StoreError

_EVER = Range(0, 1 << 62)


def take(store: Store, destination: Path, beside: Mapping[str, str], now_us: int) -> Manifest:
    """Back a store up into a directory that is not there yet, while others write to it. Raises BackupError.

    beside names the SQLite files that belong to it, by what they are called in the backup.
    """
    if not isinstance(store, DuckDBStore):
        raise BackupError(
            "the books are in a server: back that up by its own means (docs/operating.md); "
            "`joulebook backup` is for embedded stores"
        )
    check_destination(destination)
    partial = destination.with_name(f"{destination.name}.partial")
    # What a backup that was broken off has left.
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700)
        store.copy_to(partial)
        for name, path in beside.items():
            if path != ":memory:" and Path(path).exists():
                _copy_sqlite(path, partial / name)
        manifest = _manifest(partial, now_us)
        write(manifest, partial)
        if destination.exists():
            raise BackupError(f"backup {destination}: is there already; name a directory that is not")
        partial.rename(destination)
        sync_directory(destination.parent)
    except (duckdb.Error, sqlite3.Error, OSError, StoreError) as error:
        raise BackupError(f"backup {destination}: not made ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def check_destination(destination: Path) -> None:
    """Refuse a place that a backup cannot be made at. Raises BackupError."""
    if not destination.is_absolute():
        raise BackupError(f"backup {str(destination)!r}: expected an absolute path")
    if destination.exists() or destination.is_symlink():
        raise BackupError(f"backup {destination}: is there already; name a directory that is not")
    if not destination.parent.is_dir():
        raise BackupError(f"backup {destination}: {destination.parent} is no directory; make it first")


def _copy_sqlite(path: str, copy: Path) -> None:
    """Copy a SQLite file as it is at one instant."""
    with (
        closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        # One file, whatever the source's journal was.
        target.execute("PRAGMA journal_mode = DELETE")


def _manifest(directory: Path, now_us: int) -> Manifest:
    """Describe a backup by what is in it, not by what it was made from."""
    with read_only(directory / FILE) as connection:
        view = Reads(connection, Files(directory / FILE))
        by_node, newest = booked(view), marks(view)
    return Manifest(
        joulebook=version("joulebook"),
        made_unix_us=now_us,
        schema_version=len(released()),
        files=described(directory),
        newest=newest,
        booked_uj=by_node,
    )


def booked(view: Reads) -> dict[str, int]:
    """Return what the accounts of each node have received in all, in µJ."""
    by_node: dict[str, int] = {}
    for row in view.accounts(_EVER):
        by_node[row.node] = by_node.get(row.node, 0) + sum(row.active_uj) + sum(row.idle_uj)
    return by_node


def marks(view: Reads) -> list[Newest]:
    """Return the newest Report of every boot."""
    return [
        Newest(node, boot.hex(), span.end.at_us, span.start_unix_us + span.end.at_us - span.start.at_us)
        for (node, boot), span in sorted(view.tails().items())
    ]
