"""The embedded store's housekeeping changes no answer, whenever it breaks off, and forgets what it should."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest

from joulebook.collector.check.residuals import residuals
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import DAY_US, Keeper, Retention
from joulebook.collector.store.protocol import Range
from joulebook.v1.catalogue import by_name
from tests.collector.store.histories import history
from tests.collector.store.told import METRICS, RANGES, READS, tails
from tests.simulated.delivery import EVER, NOW_US, books_of, decoded, deliver, total_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode

HOUR_US = 3_600_000_000
# A whole hour.
FROM_US = WALL_US // HOUR_US * HOUR_US


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
    seen: list[str] = []
    for number, step in enumerate(_steps(store)):
        seen.append(step)
        assert _answers(store) == before, step
        # Of steps of a kind one leaves behind what the next one does.
        if seen.count(step) > 2:
            continue
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
    assert list(residuals(store)) == []
    # Of whole hours what was measured is still known; of parts of them only what was booked.
    whole = get_ledger(store, node=None, from_us=0, to_us=EVER.to_us)
    assert (whole.measured_uj, whole.residual_uj, whole.unchecked_uj) == (watched, 0, 0)
    middle_us = reports[4].end_us + reports[4].realtime_offset_us
    for from_us, to_us in ((0, middle_us), (middle_us, EVER.to_us)):
        part = get_ledger(store, node="n1", from_us=from_us, to_us=to_us)
        assert (part.residual_uj, part.unchecked_uj > 0) == (0, True)
    store._connection.execute("UPDATE fleet_days SET cpu_idle_uj = cpu_idle_uj + 1 WHERE rowid = 0")
    assert get_ledger(store, node=None, from_us=0, to_us=EVER.to_us).residual_uj < 0
    store._connection.execute("UPDATE fleet_days SET cpu_idle_uj = cpu_idle_uj - 1 WHERE rowid = 0")
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


def _sums(store: DuckDBStore, step_us: int) -> dict[str, Any]:
    """Return what is rolled up of every series, by step: how long, how much, and the mean of a gauge."""
    selected = Range(FROM_US, FROM_US + 4 * HOUR_US)
    told = {}
    for name in METRICS:
        metric = by_name()[name]
        for one in store.sums(selected, step_us, metric.number, None) or []:
            told[f"{one.node} {one.key}"] = (
                {i: int(v) for i, v in enumerate(one.covered_us.tolist()) if v},
                {i: int(v) for i, v in enumerate(one.total.tolist()) if v},
                {i: pytest.approx(v) for i, v in enumerate(one.weighted.tolist()) if v},
            )
    return told


def _sums_of_points(store: DuckDBStore, step_us: int) -> dict[str, Any]:
    """Return the same from the readings themselves, one by one."""
    told: dict[str, Any] = {}
    for name in METRICS:
        metric = by_name()[name]
        for one in store.points(EVER, metric.number, None):
            covered, total, weighted = Counter[int](), Counter[int](), Counter[int]()
            columns = (one.unix_us.tolist(), one.interval_us.tolist(), one.values.tolist())
            for unix_us, length_us, value in zip(*columns, strict=True):
                step = (unix_us - FROM_US - 1) // step_us
                covered[step] += length_us
                total[step] += value if metric.is_counter else 0
                weighted[step] += 0 if metric.is_counter else value * length_us
            kept = ({k: v for k, v in sums.items() if v} for sums in (total, weighted))
            told[f"{one.node} {one.key}"] = (dict(covered), *kept)
    return told


def test_minutes_and_hours_are_the_readings_added_up(path: Path) -> None:
    """At every step of the housekeeping, sums over minutes and hours are exactly those of the readings."""
    store = DuckDBStore(path)
    # Some ticks end on a minute, Reports reach over minutes and over an hour.
    node = SimulatedNode(wall_us=FROM_US + HOUR_US - 65_000_000)
    reports = history(node, step_us=3_000_000)
    more = history(SimulatedNode(name="n2", boot=b"c" * 16, wall_us=FROM_US + HOUR_US - 10_000_000))
    expected = {}
    for batch in ([*reports[:2], *reports[4:]], [*more, reports[3]], [reports[2]]):
        deliver(store, [batch])
        for step_us in (60_000_000, HOUR_US, 2 * HOUR_US):
            expected[step_us] = _sums_of_points(store, step_us)
            assert _sums(store, step_us) == expected[step_us]
        for step, step_us in zip(_steps(store), cycle(expected)):
            assert _sums(store, step_us) == expected[step_us], (step, step_us)
    assert len(expected[60_000_000]) > 20
    _tend(store, Retention(raw_days=1, minutes_days=1), NOW_US)
    assert _sums(store, HOUR_US) == expected[HOUR_US]
    store.close()


def test_a_newest_report_that_is_moved_stays_the_newest(path: Path) -> None:
    """Whose wall clock was set back is seen by its newest Report, wherever that is kept."""
    store = DuckDBStore(path)
    node = SimulatedNode()
    for number, step_us in enumerate((0, 0, 2 * HOUR_US, 0)):
        node.begin([Load(f"slurm.{number}", cpu_us=1)])
        node.wall_us -= step_us
        node.tick()
        deliver(store, [decoded(node, [node.report()])])
    before = [(n.last_unix_us, n.layout.hash) for n in store.nodes()]
    assert before[0][0] == WALL_US + 2_000_000
    assert "moved" in list(Keeper(store, settle_us=0).steps(NOW_US))
    assert [(n.last_unix_us, n.layout.hash) for n in store.nodes()] == before
    store.close()
