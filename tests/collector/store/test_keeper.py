"""The embedded store's housekeeping changes no answer, whenever it breaks off, and forgets what it should."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import DAY_US, Keeper, Retention
from tests.collector.store.histories import history
from tests.collector.store.told import RANGES, READS, tails
from tests.simulated.delivery import EVER, NOW_US, books_of, deliver, total_uj
from tests.simulated.node import SimulatedNode

HOUR_US = 3_600_000_000


def _reports(**more: Any) -> list[Decoded]:
    return history(SimulatedNode(**more), step_us=3_000_000)


def _answers(store: DuckDBStore) -> dict[str, Any]:
    """Return what is read of every range, and where every boot ends."""
    ranges = (EVER, RANGES[1], RANGES[7])
    told: dict[str, Any] = {name: [read(store, one) for one in ranges] for name, read in READS.items()}
    return told | {"tails": tails(store), "nodes": [(n.node, n.last_unix_us) for n in store.nodes()]}


def _copied(path: Path, directory: Path) -> Path:
    """Return a copy of a store as a program that is killed now leaves it."""
    directory.mkdir()
    for one in path.parent.glob(f"{path.name}*"):
        (shutil.copytree if one.is_dir() else shutil.copyfile)(one, directory / one.name)
    return directory / path.name


def _steps(store: DuckDBStore, retention: Retention | None = None, now_us: int = NOW_US) -> Iterator[str]:
    return Keeper(store, retention).steps(now_us)


def _tend(store: DuckDBStore, retention: Retention | None = None, now_us: int = NOW_US) -> list[str]:
    return list(_steps(store, retention, now_us))


def _files(path: Path) -> list[Path]:
    return [one for one in Path(f"{path}.blocks").rglob("*") if one.is_file()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store is."""
    return tmp_path / "it's books"


def test_a_crash_at_any_step_changes_no_answer(path: Path, tmp_path: Path) -> None:
    """Killed between any two steps, the store answers the next one alike, has no stray file, and goes on."""
    store = DuckDBStore(path)
    first, second = _reports(), _reports(name="n2", boot=b"c" * 16)
    deliver(store, [first[:3] + first[4:], second[:5]])
    before = _answers(store)
    seen = []
    for number, step in enumerate(_steps(store)):
        seen.append(step)
        assert _answers(store) == before, step
        left = _copied(path, tmp_path / str(number))
        again = DuckDBStore(left)
        assert _answers(again) == before, step
        assert again.files is not None
        assert sorted(_files(left)) == sorted(again.files.vouched_for(again._connection))
        _tend(again)
        assert _answers(again) == before, step
        # What was missing comes, and what was there comes again.
        stats = deliver(again, [first, second])
        assert stats.duplicates == len(first) - 1 + 5
        assert get_ledger(again, node=None, from_us=0, to_us=EVER.to_us).residual_uj == 0
        again.close()
    assert {"rolled up", "wrote readings", "wrote minutes", "synced", "renamed", "moved"} <= set(seen)
    store.close()


def test_what_comes_late_makes_another_block(path: Path) -> None:
    """Reports that come days late, out of order and beside repetitions are booked as those in time."""
    reports = _reports()
    store, truth = DuckDBStore(path), DuckDBStore(":memory:")
    deliver(truth, [reports])
    for batch in ([7], [0, 3], [3, 5, 7], [1, 6], [2], [4, 0]):
        deliver(store, [[reports[i] for i in batch]])
        _tend(store)
    assert _answers(store) == _answers(truth)
    assert len(store._rows("SELECT * FROM blocks WHERE reports > 0")) > 1
    # All that is left is the newest Report.
    assert store._rows("SELECT count(*) FROM intervals WHERE NOT is_gap") == [(1,)]
    store.close()
    again = DuckDBStore(path)
    assert _answers(again) == _answers(truth)
    again.close()


def test_forgotten_readings_leave_the_books_and_their_marks(path: Path) -> None:
    """When readings are forgotten, their files are gone, the books stay, and repetitions are still known."""
    node = SimulatedNode()
    reports = history(node)
    store = DuckDBStore(path)
    deliver(store, [reports[:2] + reports[3:]])
    books, watched = books_of(store), total_uj(store)
    _tend(store)
    assert any("readings" in str(one) for one in _files(path))
    _tend(
        store,
        Retention(raw_days=1, minutes_days=1, hours_days=1),
        reports[-1].end_us + reports[-1].realtime_offset_us + 2 * DAY_US,
    )
    assert _files(path) == []
    assert (books_of(store), total_uj(store)) == (books, watched)
    store.close()
    again = DuckDBStore(path)
    placed = Committer(again, IngestStats()).apply(reports)
    assert placed.duplicate == [0, 1, 3, 4, 5, 6, 7]
    assert list(placed.refused) == [2]
    assert books_of(again) == books
    again.close()


def test_one_old_report_is_refused_alone(path: Path) -> None:
    """A Report older than what is kept is refused for good, and says why; others of its batch are booked."""
    store = DuckDBStore(path)
    old, late = _reports(), SimulatedNode(name="n2", wall_us=NOW_US - 60_000_000)
    late.begin([])
    late.tick()
    _tend(store, Retention(raw_days=2), NOW_US - HOUR_US)
    now = history(late)
    placed = Committer(store, IngestStats()).apply([old[0], now[0], old[1], now[1]])
    assert placed.new == [1, 3]
    assert {i: r.code for i, r in placed.refused.items()} == dict.fromkeys(
        (0, 2), grpc.StatusCode.FAILED_PRECONDITION
    )
    assert "the store keeps no readings of that time" in placed.refused[0].message
    store.close()


def test_what_partly_repeats_forgotten_readings_is_a_conflict(path: Path) -> None:
    """A Report that is within forgotten ones and without is not booked, nor is it a repetition."""
    node = SimulatedNode()
    reports = history(node)
    store = DuckDBStore(path)
    deliver(store, [reports])
    _tend(store)
    _tend(store, Retention(raw_days=1), NOW_US)
    ((start_us, end_us),) = [
        (s.start.at_us, s.end.at_us)
        for s in store.spans("n1", node.boot, 0, reports[2].end_us)
        if s.forgotten
    ][:1]
    assert start_us == reports[0].start_us
    assert end_us > reports[1].end_us
    ahead = replace(reports[0], start_us=start_us - 1)
    assert Committer(store, IngestStats()).apply([ahead]).conflict == [0]
    store.close()
