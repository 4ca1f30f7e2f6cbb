"""Rows of the books, minutes and readings are forgotten, some of them a second time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from joulebook.collector.store.duckdb.rows import EVER
from tests.crashes.books import FILE, Batch, assert_sound, batches, commit
from tests.crashes.scene import Say
from tests.simulated.delivery import total_uj
from tests.simulated.node import WALL_US

_NOW_US = WALL_US + 8 * HOUR_US
# What ended before the second whole hour goes: all but the last three batches.
_UNTIL_US = (WALL_US // HOUR_US + 1) * HOUR_US
_BOOKS = Retention(ledger_days=7 / 24, minutes_days=7 / 24)
_ALL = Retention(raw_days=7 / 24, ledger_days=7 / 24, minutes_days=7 / 24, hours_days=7 / 24)
# It fills a gap, and comes when the rows of its time are forgotten.
_LATE = 5


class Forgetting:
    """Books forget rows and minutes, take what is late for that time, forget it too, and then readings."""

    name = "forgetting"

    def prepare(self, root: Path) -> None:
        """Commit all but what is late, and move what is settled."""
        with closing(DuckDBStore(root / FILE)) as store:
            for number, batch in enumerate(batches()):
                if number != _LATE:
                    commit(store, batch)
            _keep_house(store)

    def act(self, root: Path, say: Say) -> None:
        """Forget, commit what is late, forget that, and forget readings."""
        with closing(DuckDBStore(root / FILE)) as store:
            _keep_house(store, _BOOKS, say)
            commit(store, batches()[_LATE])
            say("committed")
            _add_up(store)
            _keep_house(store, _BOOKS, say)
            store.checkpoint()
            say("forgets readings")
            _keep_house(store, _ALL, say)

    def check(self, root: Path, said: list[str]) -> None:
        """Find all energy, and all rows that are not said to be forgotten; forget the rest."""
        made = batches()
        known_uj = made[-1].booked_uj
        with closing(DuckDBStore(root / FILE)) as store:
            _check_told(store, said)
            if "forgets readings" not in said:
                _check_held(store, made, late="committed" in said)
            # What is late lies in a gap, of which the counters have told.
            assert total_uj(store) == known_uj
            assert embedded(store, Policy.RESERVED) == []
            _check_answers(store, known_uj)
            if "forgets readings" not in said:
                commit(store, made[_LATE])
            _add_up(store)
            _keep_house(store, _ALL)
            _check_told(store, ["forgot rows", "forgot minutes of the books", "forgot readings"])
            gone = f"WHERE end_unix_us <= {_UNTIL_US}"
            for table in ("ledger", "watched_reports"):
                assert store._rows(f"SELECT count(*) FROM {table} {gone}") == [(0,)]
            assert_sound(store, known_uj)
            _check_answers(store, known_uj)


def _keep_house(store: DuckDBStore, retention: Retention | None = None, say: Say | None = None) -> None:
    for step in Keeper(store, retention, policy=Policy.RESERVED, settle_us=0).steps(_NOW_US):
        if say is not None:
            say(step)


def _add_up(store: DuckDBStore) -> None:
    """Add up by hour what came, as the next Reports that are an hour later would."""
    with store.writing():
        store._rolls.roll_everything(store._next_interval)


def _check_told(store: DuckDBStore, said: list[str]) -> None:
    """Check that a store says up to where it forgot, and says so when it was said."""
    kept = store.books_kept()
    for told_us, step in (
        (kept.rows_us, "forgot rows"),
        (kept.minutes_us, "forgot minutes of the books"),
        (store.forgotten_us, "forgot readings"),
    ):
        assert told_us in (0, _UNTIL_US)
        assert told_us or step not in said


def _check_held(store: DuckDBStore, made: list[Batch], *, late: bool) -> None:
    """Check that all Reports are there, and what is late wholly or not at all."""
    marks = store._marks(EVER, "node_id, start_us, is_gap")
    held = set(store._rows(f"SELECT node, start_us FROM {marks} JOIN nodes USING (node_id) WHERE NOT is_gap"))
    all_but = set[tuple[str, int]]().union(*(b.places for n, b in enumerate(made) if n != _LATE))
    assert held - made[_LATE].places == all_but
    assert made[_LATE].places <= held if late else held & made[_LATE].places in (set(), made[_LATE].places)


def _check_answers(store: DuckDBStore, known_uj: int) -> None:
    """Check that hours balance and come to all there is, and that what is finer is told as forgotten."""
    begin_us, end_us = _UNTIL_US - HOUR_US, _UNTIL_US + 24 * HOUR_US
    cut_us = _UNTIL_US - HOUR_US // 3 - 1
    for node in (None, "n1", "n2"):
        parts = [
            get_ledger(store, node=node, from_us=from_us, to_us=to_us)
            for from_us, to_us in ((begin_us, cut_us), (cut_us, end_us), (begin_us, end_us))
        ]
        assert [part.residual_uj for part in parts] == [0, 0, 0]
        before, after, whole = (part.measured_uj for part in parts)
        left_out = [one for part in parts[:2] for one in part.forgotten]
        assert parts[2].forgotten == []
        assert node is not None or whole == known_uj
        if store.books_kept().rows_us:
            assert left_out
            assert all(begin_us <= one.from_us < one.to_us <= _UNTIL_US for one in left_out)
            assert before + after <= whole
        else:
            assert left_out == []
            assert before + after == whole
