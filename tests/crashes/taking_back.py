"""A backup of books that forgot rows is restored to a time."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from pathlib import Path

from joulebook.collector.backup.files import ALERTS
from joulebook.collector.backup.restore import restore
from joulebook.collector.backup.take import take
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from tests.crashes.books import COMMITS, FILE, Batch, assert_sound, batches, commit
from tests.crashes.scene import Say
from tests.simulated.delivery import total_uj
from tests.simulated.node import WALL_US

_NOW_US = WALL_US + 8 * HOUR_US
# Rows of the first hour are forgotten; the time is within what came last, hours later.
_RETENTION = Retention(ledger_days=7 / 24, minutes_days=7 / 24)
_AT_US = (WALL_US // HOUR_US + 2) * HOUR_US + 2_000_000_000
_BACKUP, _AGAIN = "backup", "again.duckdb"


class TakingBack:
    """What is restored is there as of that time, or is not there; the backup stays as it was."""

    name = "taking back"

    def prepare(self, root: Path) -> None:
        """Make books that forgot, and their backup."""
        with closing(DuckDBStore(root / FILE)) as store:
            for batch in _batches():
                commit(store, batch)
            for _ in Keeper(store, _RETENTION, policy=Policy.RESERVED, settle_us=0).steps(_NOW_US):
                pass
            assert store.books_kept().rows_us
            take(store, root / _BACKUP, {}, _NOW_US)

    def act(self, root: Path, say: Say) -> None:
        """Restore it to a time, and go on."""
        restore(root / _BACKUP, root / _AGAIN, _beside(root), at_unix_us=_AT_US)
        say("restored")
        with closing(DuckDBStore(root / _AGAIN)) as store:
            for batch in _batches():
                commit(store, batch)
        say("committed")

    def check(self, root: Path, said: list[str]) -> None:
        """Find what had come by then, or it with whole commits since; where it is not there, restore it."""
        assert "restored" not in said or (root / _AGAIN).exists()
        if not (root / _AGAIN).exists():
            for left in (f"{_AGAIN}.blocks", f"{_AGAIN}.wal"):
                # Blocks come before the store: they are to be moved away as the message says.
                if (root / left).exists():
                    (root / left).rename(root / f"away {left}")
            restore(root / _BACKUP, root / _AGAIN, _beside(root), at_unix_us=_AT_US)
        made = _batches()
        with closing(DuckDBStore(root / _AGAIN)) as store:
            found_uj = total_uj(store)
            if "committed" in said:
                assert found_uj == made[-1].booked_uj
            elif "restored" not in said:
                assert found_uj == _known_uj()
            for batch in made:
                commit(store, batch)
            assert_sound(store, made[-1].booked_uj)


def _batches() -> list[Batch]:
    return batches(COMMITS + 2)


@cache
def _known_uj() -> int:
    """Return what had been booked by the time."""
    with closing(DuckDBStore(":memory:")) as store:
        for batch in _batches():
            early = [one for one in batch.reports if one.end_us + one.realtime_offset_us <= _AT_US]
            if early:
                commit(store, Batch(early, 0))
        return total_uj(store)


def _beside(root: Path) -> dict[str, str]:
    return {ALERTS: str(root / "again.sqlite")}
