"""A store whose last commit a power cut tore in the log."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from joulebook.collector.store.duckdb import DuckDBStore
from tests.crashes.books import FILE, batches, commit

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Logged:
    """A store's file, and its log after the tables were made and after each commit, all of it synced."""

    file: bytes
    logs: list[bytes]

    def synced_before(self, number: int) -> int:
        """Return how many bytes were synced before a commit; 0 is the making of the tables."""
        return len(self.logs[number - 1]) if number else 0

    def lay(self, root: Path, log: bytes) -> Path:
        """Lay the file out with a log; return its path."""
        (root / FILE).write_bytes(self.file)
        (root / f"{FILE}.wal").write_bytes(log)
        return root / FILE

    def with_hole(self, number: int) -> bytes:
        """Return the log without a sector well within the commit of a number."""
        log = bytearray(self.logs[-1])
        sector = (self.synced_before(number) // SECTOR + 2) * SECTOR
        assert any(log[sector : sector + SECTOR])
        log[sector : sector + SECTOR] = bytes(SECTOR)
        return bytes(log)


def logged(root: Path, commits: int) -> Logged:
    """Commit so many batches of known books, and read what is on the disk after each."""
    logs = []
    with closing(DuckDBStore(root / FILE)) as store:
        for batch in [None, *batches()[:commits]]:
            if batch is not None:
                commit(store, batch)
            logs.append((root / f"{FILE}.wal").read_bytes())
        return Logged((root / FILE).read_bytes(), logs)


def torn(log: bytes, synced: int, kept: float, rng: Random) -> bytes:
    """Return a log of whose bytes behind those that were synced some sectors never reached the disk."""
    content, at = bytearray(log), synced
    while at < len(content):
        end = min((at // SECTOR + 1) * SECTOR, len(content))
        if rng.random() >= kept:
            content[at:end] = bytes(end - at)
        at = end
    return bytes(content)
