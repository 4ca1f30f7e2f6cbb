"""A store is opened whose last commit a power cut tore, and crashes while its log is mended."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random

from joulebook.collector.store.duckdb import DuckDBStore
from tests.crashes.books import FILE, assert_sound, batches, commit, stored
from tests.crashes.scene import Say
from tests.crashes.torn import logged, torn

_COMMITS = 4


class Mending:
    """The first start after a power cut that left a hole in the last commit."""

    name = "mending"

    def prepare(self, root: Path) -> None:
        """Make a store with a torn log."""
        made = logged(root, _COMMITS)
        made.lay(root, torn(made.logs[-1], made.synced_before(_COMMITS), 0.5, Random(1)))

    def act(self, root: Path, say: Say) -> None:
        """Open it, and commit what was torn."""
        with closing(DuckDBStore(root / FILE)) as store:
            say("mended")
            commit(store, batches()[_COMMITS - 1])
            say("committed")

    def check(self, root: Path, said: list[str]) -> None:
        """Find what was acknowledged before and since; commit the rest; find everything."""
        made = batches()
        with closing(DuckDBStore(root / FILE)) as store:
            done = stored(store, made)
            assert _COMMITS - 1 + ("committed" in said) <= done <= _COMMITS - 1 + ("mended" in said)
            for batch in made:
                commit(store, batch)
            assert_sound(store, made[-1].booked_uj)
