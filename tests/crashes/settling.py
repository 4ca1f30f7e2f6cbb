"""Housekeeping: what is settled moves into blocks, what comes late makes others, what is old is forgotten."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from tests.crashes.books import FILE, assert_sound, batches, commit, stored
from tests.crashes.scene import Say
from tests.simulated.node import WALL_US

# When all but the newest Reports is of hours that are over.
_NOW_US = WALL_US + 8 * HOUR_US
# How long everything is kept at last: part of what there is.
_RETENTION = Retention(raw_days=7 / 24, minutes_days=7 / 24, hours_days=7 / 24)
_FIRST = 5


class Settling:
    """Blocks are written, more is committed, more blocks are written; then part of them is forgotten."""

    name = "settling"

    def prepare(self, root: Path) -> None:
        """Commit the first batches."""
        with closing(DuckDBStore(root / FILE)) as store:
            for batch in batches()[:_FIRST]:
                commit(store, batch)

    def act(self, root: Path, say: Say) -> None:
        """Keep house, commit what comes late, keep house again, forget."""
        with closing(DuckDBStore(root / FILE)) as store:
            _keep_house(store)
            for batch in batches()[_FIRST:]:
                commit(store, batch)
                say("committed")
            _keep_house(store)
            store.checkpoint()
            say("forgets")
            _keep_house(store, _RETENTION)

    def check(self, root: Path, said: list[str]) -> None:
        """Find what was committed; commit the others, keep house, and find everything once."""
        made = batches()
        with closing(DuckDBStore(root / FILE)) as store:
            if "forgets" not in said:
                # One more may be durable than was said.
                assert stored(store, made) - _FIRST - said.count("committed") in (0, 1)
            for batch in made:
                commit(store, batch)
            assert_sound(store, made[-1].booked_uj)
            _keep_house(store, _RETENTION)
            assert_sound(store, made[-1].booked_uj)


def _keep_house(store: DuckDBStore, retention: Retention | None = None) -> None:
    for _ in Keeper(store, retention, settle_us=0).steps(_NOW_US):
        pass
