"""Commits, and checkpoints between them, on a new file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from joulebook.collector.store.duckdb import DuckDBStore
from tests.crashes.books import FILE, assert_sound, batches, commit, stored
from tests.crashes.scene import Say


class Committing:
    """A collector's life on a new file, with checkpoints by size and by request, and an orderly end."""

    name = "committing"

    def prepare(self, root: Path) -> None:
        """Make nothing: the file is new."""

    def act(self, root: Path, say: Say) -> None:
        """Commit every batch."""
        store = DuckDBStore(root / FILE)
        store.checkpoints.threshold_bytes = 96_000
        for number, batch in enumerate(batches()):
            say(f"begins {number}")
            commit(store, batch)
            say(f"committed {number}")
            if number == 4:
                store.checkpoint()
        store.close()

    def check(self, root: Path, said: list[str]) -> None:
        """Find whole batches, all that were committed; commit the others; find everything."""
        made = batches()
        with closing(DuckDBStore(root / FILE)) as store:
            done = stored(store, made)
            committed, begun = (sum(s.startswith(word) for s in said) for word in ("committed", "begins"))
            assert committed <= done <= begun
            for batch in made:
                commit(store, batch)
            assert_sound(store, made[-1].booked_uj)
