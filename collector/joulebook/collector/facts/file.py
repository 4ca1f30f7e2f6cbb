"""SQLite files of ours: which kind a file is, which version its tables are of, and how surely it keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path


class FileError(Exception):
    """A file that cannot be used, and why."""


def open_file(
    path: str,
    *,
    kind: int,
    version: int,
    tables: str,
    surely: bool,
    steps: Mapping[int, str] | None = None,
) -> sqlite3.Connection:
    """Open a file, or memory for a path of ':memory:', and make its tables if it is new. Raises FileError.

    kind is the file's application_id; steps are what brings tables of a version to the next one. surely: what
    is committed outlasts a power cut, and nobody else may open the file the while; otherwise a power cut may
    cost the last moments, never the file.
    """
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=1.0)
    except (sqlite3.Error, OSError) as error:
        raise FileError(f"cannot be opened ({error})") from error
    try:
        _prepare(connection, kind, version, tables, surely, steps or {})
    except (sqlite3.Error, ValueError) as error:
        # What is damaged may be reported in bytes that are no text.
        connection.close()
        other = "; is another collector using it?" if "locked" in str(error) else ""
        raise FileError(f"cannot be opened ({error}){other}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection,
    kind: int,
    version: int,
    tables: str,
    surely: bool,
    steps: Mapping[int, str],
) -> None:
    found_kind, found = (_pragma(connection, name) for name in ("application_id", "user_version"))
    if found and found_kind != kind:
        raise FileError("is not the kind of file that is kept here; name another one")
    ahead = range(found, version) if found else range(0)
    if found > version or any(step not in steps for step in ahead):
        raise FileError(
            f"its tables are of version {found}, expected {version}; "
            "move the file away, or run the joulebook that made it"
        )
    if surely:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if surely else 'NORMAL'}")
    if found != version:
        made = "".join(steps[step] for step in ahead) if found else tables
        stamp = f"PRAGMA application_id = {kind}; PRAGMA user_version = {version};"
        connection.executescript(f"BEGIN; {made} {stamp} COMMIT;")
    if surely:
        # Takes the lock now rather than at the first commit.
        connection.executescript("BEGIN IMMEDIATE; COMMIT;")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    with closing(connection.execute(f"PRAGMA {name}")) as cursor:
        (value,) = cursor.fetchone()
    return int(value)
