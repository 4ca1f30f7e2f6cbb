"""A copy of an embedded store, as it is at one instant, while others read and write it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb

from joulebook.collector.store.duckdb.files import Files, sync

# What the copy is called in its directory.
FILE = "store.duckdb"


def copy_store(connection: duckdb.DuckDBPyConnection, path: Path | str, directory: Path) -> Path:
    """Copy a store that is open into a directory; return the copy's file, which is on the disk then.

    Commits go on meanwhile and are not in it. Raises duckdb.Error or OSError; what is in the directory then
    is of no use.
    """
    copy = directory / FILE
    copy_file(connection, copy)
    _copy_blocks(Files(path), copy)
    return copy


def copy_file(connection: duckdb.DuckDBPyConnection, copy: Path) -> None:
    """Copy the file that is open, without its blocks; the copy is on the disk then."""
    with connection.cursor() as cursor:
        (name,) = cursor.execute("SELECT current_database()").fetchall()[0]
        cursor.execute(f"ATTACH {_literal(str(copy))} AS joulebook_copy")
        try:
            cursor.execute(f"COPY FROM DATABASE {_quoted(name)} TO joulebook_copy")
            # It is written through then, and its log is gone. Nobody needs it before.
            cursor.execute("CHECKPOINT joulebook_copy")
        finally:
            cursor.execute("DETACH joulebook_copy")
    with copy.open("rb") as file:
        os.fsync(file.fileno())


def _copy_blocks(files: Files, copy: Path) -> None:
    """Copy the files that the copy vouches for. They never change, so another name for them will do."""
    copied = Files(copy)
    with duckdb.connect(str(copy), read_only=True) as connection:
        for own in copied.vouched_for(connection):
            source = files.directory / own.relative_to(copied.directory)
            copied.make_room(own)
            try:
                os.link(source, own)
            except OSError:
                # Another file system.
                shutil.copyfile(source, own)
                sync(own)
            sync(own.parent)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
