"""A backup of books that are in use, and a restore of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from joulebook.collector.backup.files import ALERTS
from joulebook.collector.backup.restore import restore
from joulebook.collector.backup.take import take
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from tests.crashes.books import FILE, assert_sound, batches, commit, stored
from tests.crashes.scene import Say
from tests.simulated.delivery import NOW_US

_BACKUP, _AGAIN = "backup", "again.duckdb"
_FIRST = 7


class BackingUp:
    """Where a backup, or what is restored from it, is there at all, it is whole."""

    name = "backing up"

    def prepare(self, root: Path) -> None:
        """Commit some batches, with blocks, and keep some alerts."""
        with closing(DuckDBStore(root / FILE)) as store:
            for batch in batches()[:_FIRST]:
                commit(store, batch)
            for _ in Keeper(store, settle_us=0).steps(NOW_US):
                pass
        with closing(sqlite3.connect(root / ALERTS)) as alerts:
            alerts.execute("CREATE TABLE alerts (name)")

    def act(self, root: Path, say: Say) -> None:
        """Back up, commit what remains, restore beside it."""
        made = batches()
        with closing(DuckDBStore(root / FILE)) as store:
            take(store, root / _BACKUP, _beside(root, ALERTS), NOW_US)
            say("taken")
            for batch in made[_FIRST:]:
                commit(store, batch)
        say("committed")
        restore(root / _BACKUP, root / _AGAIN, _beside(root, "again.sqlite"))
        say("restored")

    def check(self, root: Path, said: list[str]) -> None:
        """Find the books, the backup, and what was restored; a backup can be taken anew."""
        made = batches()
        with closing(DuckDBStore(root / FILE)) as store:
            done = stored(store, made)
            assert done >= (len(made) if "committed" in said else _FIRST)
            take(store, root / "another", _beside(root, ALERTS), NOW_US)
            booked_uj = made[done - 1].booked_uj
            assert_sound(store, booked_uj)
        assert "taken" not in said or (root / _BACKUP).exists()
        for backup, uj in ((_BACKUP, made[_FIRST - 1].booked_uj), ("another", booked_uj)):
            if (root / backup).exists():
                to = root / f"restored {backup}"
                to.mkdir()
                assert restore(root / backup, to / FILE, _beside(to, ALERTS)).booked_uj == uj
        assert "restored" not in said or (root / _AGAIN).exists()
        if (root / _AGAIN).exists():
            with closing(DuckDBStore(root / _AGAIN)) as store:
                assert_sound(store, made[_FIRST - 1].booked_uj)
            with closing(sqlite3.connect(root / "again.sqlite")) as alerts:
                assert alerts.execute("SELECT count(*) FROM alerts").fetchall() == [(0,)]


def _beside(root: Path, name: str) -> dict[str, str]:
    return {ALERTS: str(root / name)}
