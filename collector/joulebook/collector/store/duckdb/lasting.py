"""An embedded store that outlasts what DuckDB does not: a disk that is full at a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from joulebook.collector.ingest.sequence import Span
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.collector.store.rows import Places
from joulebook.collector.store.scheduled import Scheduled

_log = logging.getLogger(__name__)


class LastingStore(DuckDBStore):
    """A DuckDBStore whose file is opened again where DuckDB has given it up.

    DuckDB refuses every question once a checkpoint has failed, though what was committed is safe in its log.
    A commit may be durable then and have failed all the same: who commits must ask for tails() anew.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._given_up = False

    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node. Raises StoreError."""
        with self._lasting():
            return super().tails()

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        with self._lasting():
            return super().spans(node, boot, start_us, end_us)

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
        with self._lasting():
            return super().places(nodes, jobs, everywhere)

    def commit(self, commit: Commit) -> None:
        """Make it all durable in one transaction. Raises StoreError."""
        with self._lasting():
            super().commit(commit)

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError."""
        with self._lasting():
            super().schedule(told)

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        if self._given_up or self.checkpoints.gave_up:
            self._open_again()
        try:
            yield
        except duckdb.Error as error:
            self._given_up = isinstance(error, duckdb.FatalException)
            raise StoreError(f"store {self._path}: {_first_line(error)}") from error
        except StoreError as error:
            self._given_up = isinstance(error.__cause__, duckdb.FatalException)
            raise

    def _open_again(self) -> None:
        # Who keeps house may be in a transaction, with what belongs to the old connection.
        with self._writing:
            self._connection.close()
            try:
                fresh = DuckDBStore(self._path, self.files)
            except (duckdb.Error, StoreError) as error:
                # Questions that are under way may still hold the old one.
                raise StoreError(
                    f"store {self._path}: given up, and not open again ({_first_line(error)})"
                ) from error
            # Who waits to write, waits for this lock.
            vars(self).update(vars(fresh) | {"_writing": self._writing})
            self._given_up = False
        _log.warning("store %s: opened again", self._path)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    # What is said first is that it gave up; the next line says why.
    return next((line for line in lines if line.startswith("Original error: ")), lines[0] if lines else "")
