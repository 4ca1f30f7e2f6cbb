"""A checkpoint of a store, cut short wherever the test says."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import duckdb

from joulebook.collector.store.duckdb import DuckDBStore, doublewrite
from joulebook.collector.store.duckdb.checkpoints import checkpoint
from tests.collector.store.histories import history
from tests.simulated.delivery import books_of, decoded, deliver
from tests.simulated.node import SimulatedNode

HEADERS = 12_288


@dataclass(frozen=True, slots=True)
class Cut:
    """A store's file and log as a checkpoint began, the note, and the file as it ended; and its books."""

    path: Path
    before: bytes
    log: bytes
    note: bytes
    after: bytes
    books: Any

    def lay_out(self, file: bytes, note: bytes | None = None) -> None:
        """Leave a file, the log, and a note."""
        self.path.write_bytes(file)
        Path(f"{self.path}.wal").write_bytes(self.log)
        doublewrite.note_of(self.path).write_bytes(self.note if note is None else note)

    def torn(self, rng: Random) -> bytes:
        """Return the file with the old headers, and any sectors of what was written of the blocks."""
        torn = bytearray(self.before.ljust(len(self.after), b"\0"))
        for at in range(HEADERS, len(self.after), 512):
            if rng.random() < 0.5:
                torn[at : at + 512] = self.after[at : at + 512]
        return bytes(torn)

    def assert_whole(self) -> None:
        """Open the store, and find its books and no note."""
        with closing(DuckDBStore(self.path)) as store:
            assert books_of(store) == self.books
        assert not doublewrite.note_of(self.path).exists()


class _Watched:
    """A connection that copies the files as a checkpoint begins."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, to: Path, path: Path) -> None:
        self._connection, self._to, self._path = connection, to, path

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self._connection.cursor()

    def execute(self, query: str) -> None:
        assert query == "CHECKPOINT"
        # Another program copies: this one would lose its lock.
        subprocess.run(["cp", "-r", str(self._path.parent), str(self._to)], check=True)
        self._connection.execute(query)


def cut_short(tmp_path: Path) -> Cut:
    """Return what a store's second checkpoint did."""
    place = tmp_path / "a place"
    place.mkdir()
    path = place / "books.duckdb"
    node = SimulatedNode()
    store = DuckDBStore(path)
    deliver(store, [history(node)])
    store.checkpoint()
    for _ in range(5):
        node.tick()
    deliver(store, [decoded(node, [node.report()])])
    books = books_of(store)
    watched = cast(duckdb.DuckDBPyConnection, _Watched(store._connection, tmp_path / "copy", path))
    checkpoint(watched, path)
    # Nothing of the store's closing is in it.
    after = subprocess.run(["cat", str(path)], capture_output=True, check=True).stdout
    store.close()
    copy = tmp_path / "copy" / path.name
    log, note = Path(f"{copy}.wal"), doublewrite.note_of(copy)
    return Cut(path, copy.read_bytes(), log.read_bytes(), note.read_bytes(), after, books)
