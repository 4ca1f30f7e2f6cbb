"""An embedded store's checkpoints: made by the store itself, so that a power cut amid one harms nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb

from joulebook.collector.store.duckdb import doublewrite

_log = logging.getLogger(__name__)

# A checkpoint writes the last rows of every table anew: the more lie between two, the less it costs.
THRESHOLD_BYTES = 64 << 20
# How much more is logged before a checkpoint that could not be made is tried again.
_AGAIN_BYTES = 1 << 20


def keep_off(connection: duckdb.DuckDBPyConnection) -> None:
    """Have DuckDB make no checkpoint but those it is asked for: not by size, nor as the last one lets go."""
    connection.execute("SET checkpoint_threshold = '1000TB'")
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")


def checkpoint(connection: duckdb.DuckDBPyConnection, path: Path | str) -> None:
    """Write a file's log into it. Nobody may write meanwhile. Raises duckdb.Error, and OSError.

    Whatever fails, whoever opens the file next finds all that was committed.
    """
    if str(path) != ":memory:":
        with connection.cursor() as cursor:
            # Numbers of copies that are attached are not asked for.
            rows = cursor.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()
        doublewrite.write(Path(path), [block for (block,) in rows])
    connection.execute("CHECKPOINT")
    if str(path) != ":memory:":
        doublewrite.remove(Path(path))


class Checkpoints:
    """Makes a store's checkpoints when its log has become long."""

    def __init__(self, path: Path | str) -> None:
        self.threshold_bytes = THRESHOLD_BYTES
        # Whether DuckDB gave the file up in one: it must be opened again.
        self.gave_up = False
        # DuckDB has its log beside the file that a link leads to.
        self._path = None if str(path) == ":memory:" else Path(path).resolve()
        self._log = Path(f"{self._path}.wal")
        self._failed_at_bytes: int | None = None

    def make_if_due(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make one where it is time, after a commit and before the next one. Never raises for it."""
        if self._path is None:
            return
        logged = self.logged_bytes()
        if self._failed_at_bytes is None:
            due = logged >= self.threshold_bytes
        else:
            due = logged >= self._failed_at_bytes + _AGAIN_BYTES
        if due:
            self.make(connection)

    def make(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make one now. Where it fails the log stays, and with it all that was committed."""
        logged = self.logged_bytes()
        try:
            checkpoint(connection, self._path or ":memory:")
        except duckdb.FatalException as error:
            self.gave_up = True
            _log.warning("store %s: given up by DuckDB in a checkpoint (%s)", self._path, error)
        except duckdb.TransactionException:
            # Somebody else writes; that is over soon.
            self._failed_at_bytes = logged
        except (duckdb.Error, OSError) as error:
            if self._failed_at_bytes is None:
                _log.warning("store %s: no checkpoint was made (%s); its log grows", self._path, error)
            self._failed_at_bytes = logged
        else:
            self._failed_at_bytes = None

    def logged_bytes(self) -> int:
        """Return how long the log is."""
        try:
            return self._log.stat().st_size if self._path is not None else 0
        except FileNotFoundError:
            return 0
