"""Alerts in a SQLite file beside the embedded store: rows that change, which is not what DuckDB is for."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from joulebook.collector.alerts.alert import Alert
from joulebook.collector.alerts.store import AlertStoreError
from joulebook.collector.facts.file import FileError, open_file

# Goes up whenever the tables or Alert change.
_VERSION = 1
_TABLES = """
CREATE TABLE alerts (id TEXT PRIMARY KEY, since_us INTEGER NOT NULL, resolved_us INTEGER, alert BLOB NOT NULL)
WITHOUT ROWID;
"""


class SqliteAlerts:
    """An AlertStore in a file, or in memory for a path of ':memory:'."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._connection = open_file(path, kind=0, version=_VERSION, tables=_TABLES, surely=False)
        except FileError as error:
            raise AlertStoreError(f"alerts {path}: {error}") from error

    def load(self) -> list[Alert]:
        """Return all that is kept, newest first. Raises AlertStoreError."""
        try:
            rows = self._connection.execute("SELECT alert FROM alerts ORDER BY since_us DESC, id").fetchall()
            return [msgspec.json.decode(row, type=Alert) for (row,) in rows]
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise AlertStoreError(f"alerts {self._path}: cannot be read ({error})") from error

    def save(self, changed: Sequence[Alert], ended: Collection[str], forget_before_us: int) -> None:
        """Keep alerts as they are now, and drop those named by id and those resolved earlier, at once or not
        at all. Raises AlertStoreError.
        """
        rows = [(a.id, a.since_us, a.resolved_us, msgspec.json.encode(a)) for a in changed]
        try:
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany("DELETE FROM alerts WHERE id = ?", [(id_,) for id_ in ended])
                self._connection.executemany("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?)", rows)
                self._connection.execute("DELETE FROM alerts WHERE resolved_us < ?", (forget_before_us,))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise AlertStoreError(f"alerts {self._path}: not kept ({error})") from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
