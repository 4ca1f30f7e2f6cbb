"""Files of blocks beside an embedded store: where each is, and taken away only when nobody reads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

HOUR_US = 3_600_000_000
# What a block consists of: readings by series, the Reports that they came in, and series by minute.
READINGS, REPORTS, MINUTES = KINDS = ("readings", "reports", "minutes")


class Files:
    """A store's directory of blocks: PATH.blocks/KIND/day=YYYY-MM-DD/NUMBER.parquet."""

    def __init__(self, store: Path | str) -> None:
        self.directory = Path(f"{store}.blocks")
        self._lock = threading.Lock()
        self._readers = 0
        self._going: list[Path] = []

    def path(self, kind: str, block: int, hour: int) -> Path:
        """Return where a block's file is."""
        day = time.strftime("%Y-%m-%d", time.gmtime(hour * 3600))
        return self.directory / kind / f"day={day}" / f"{block:08d}.parquet"

    def vouched_for(self, connection: duckdb.DuckDBPyConnection) -> list[Path]:
        """Return every file that a store vouches for, of whatever version its tables are."""
        if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'blocks'").fetchall():
            return []
        rows = connection.execute("SELECT block_id, hour, has_raw, has_minutes FROM blocks").fetchall()
        return [
            self.path(kind, block, hour)
            for block, hour, has_raw, has_minutes in rows
            for kind in KINDS
            if (has_minutes if kind == MINUTES else has_raw)
        ]

    def make_room(self, path: Path) -> Path:
        """Make the directory that a file will be in, durably; return where to write the file first."""
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True)
        # Whether it is there or not: of one that was made before, this may have failed.
        for directory in (path.parent.parent, self.directory, self.directory.parent):
            sync(directory)
        return path.with_suffix(".tmp")

    def clean(self, known: Iterable[Path]) -> None:
        """Remove what no store vouches for: what was being written when the program died."""
        there = set(known)
        for path in [*self.directory.glob("*/*/*")]:
            if path not in there:
                path.unlink()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the files of the block's time; a file that is to go waits for the last reader."""
        with self._lock:
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
            self._take_away()

    def remove(self, paths: Iterable[Path]) -> None:
        """Take files away that the store no longer vouches for, as soon as nobody reads."""
        with self._lock:
            self._going += paths
        self._take_away()

    def _take_away(self) -> None:
        with self._lock:
            if self._readers:
                return
            going, self._going = self._going, []
            for path in going:
                path.unlink(missing_ok=True)
        for directory in {path.parent for path in going}:
            # The last file of a day takes its directory with it.
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()


def sync(path: Path) -> None:
    """Make a file, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
