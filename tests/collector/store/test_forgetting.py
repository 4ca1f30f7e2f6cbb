"""A store that forgot rows, minutes and cells answers as one that did not, or says what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.jobs import Job, list_jobs
from joulebook.collector.queries.ledger import Ledger, get_ledger
from joulebook.collector.queries.power import Power, get_power
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import DAY_US, Keeper, Retention
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.protocol import Range, StoreError
from tests.collector.store.hours import NODES, batches
from tests.simulated.delivery import EVER
from tests.simulated.node import WALL_US

# The first whole hour of the histories.
_FIRST_US = (WALL_US // HOUR_US + 7) * HOUR_US
_STEPS_S = (None, 5, 30, 60, 90, 300, 600, 900, 3600, 7200, 86_400)


def _forget(store: DuckDBStore, rows_us: int, rng: Random) -> None:
    """Have a keeper forget rows up to an hour, and minutes up to one before or after it, or none."""
    days = rng.choice((1, 3))
    minutes_days = rng.choice((0, days, days + 1 / 24, days + 4 / 24, max(1, days - 2 / 24)))
    for _ in Keeper(store, Retention(ledger_days=days, minutes_days=minutes_days)).steps(
        rows_us + days * DAY_US
    ):
        pass


def _both(directory: Path, seed: int) -> tuple[DuckDBStore, DuckDBStore, list[list[Decoded]]]:
    """Return a store that keeps all, one that forgot ever more while they were written, and what they got."""
    rng = Random(seed)
    whole, forgetful = DuckDBStore(directory / "whole"), DuckDBStore(directory / "forgetful")
    committers = [Committer(store, IngestStats()) for store in (whole, forgetful)]
    delivered = [*batches(rng, 40)]
    rows_us = _FIRST_US - HOUR_US
    for number, batch in enumerate(delivered):
        for committer in committers:
            committer.apply(list(batch))
        if rng.random() < 0.1 and number > len(delivered) // 3:
            rows_us += rng.randrange(2) * HOUR_US
            _forget(forgetful, rows_us, rng)
    with forgetful.writing():
        forgetful._rolls.roll_everything(forgetful._next_interval)
    _forget(forgetful, _FIRST_US + rng.randrange(2, 5) * HOUR_US, rng)
    return whole, forgetful, delivered


def _ranges(rng: Random) -> Iterator[tuple[str | None, int, int]]:
    for _ in range(20):
        unit_us = rng.choice((1, 1_000_000, 60_000_000, 600_000_000, HOUR_US, DAY_US))
        ends = sorted((_FIRST_US + rng.randrange(-HOUR_US, 14 * HOUR_US)) // unit_us * unit_us for _ in "ab")
        yield rng.choice((None, *NODES)), ends[0], ends[1] + rng.choice((1, HOUR_US, DAY_US))


def _rest(found: Ledger | Power) -> tuple[int, int]:
    """Return what of its range an answer is of."""
    from_us, to_us = found.from_us, found.to_us
    for one in found.forgotten:
        assert one.from_us < one.to_us
        if one.from_us == from_us:
            from_us = one.to_us
        else:
            assert one.to_us == to_us
            to_us = one.from_us
    return from_us, to_us


def _same_ledger(
    whole: DuckDBStore, forgetful: DuckDBStore, node: str | None, from_us: int, to_us: int
) -> None:
    found = get_ledger(forgetful, node=node, from_us=from_us, to_us=to_us)
    rest = _rest(found)
    if not (from_us % HOUR_US or to_us % HOUR_US) or from_us >= forgetful.books_kept().rows_us:
        assert rest == (from_us, to_us)
    assert all(one.to_us - one.from_us < HOUR_US for one in found.forgotten) or rest[0] == rest[1]
    expected = get_ledger(whole, node=node, from_us=rest[0], to_us=rest[1])
    assert found.residual_uj == 0
    same = {"from_us": from_us, "to_us": to_us, "forgotten": found.forgotten}
    assert found == replace(expected, **same)  # type: ignore[arg-type]


def _buckets(found: Power, from_us: int) -> dict[tuple[str, int], int]:
    first = from_us // found.step_us
    return {
        (one.account, first + i): uj for one in found.accounts for i, uj in enumerate(one.energy_uj) if uj
    }


def _same_power(
    whole: DuckDBStore, forgetful: DuckDBStore, node: str | None, from_us: int, to_us: int, step_s: int | None
) -> None:
    asked: dict[str, Any] = {"node": node, "limit": 100}
    step_us = None if step_s is None else step_s * 1_000_000
    kept, unit_us = forgetful.books_kept(), 1
    if from_us < kept.rows_us:
        unit_us = 60_000_000 if node is None else 600_000_000
        unit_us = HOUR_US if from_us < kept.minutes_us else unit_us
    if step_us is not None and (step_us % unit_us or (to_us - from_us) // step_us > 10_000):
        with pytest.raises(BadValueError, match="step"):
            get_power(forgetful, from_us=from_us, to_us=to_us, step_us=step_us, **asked)
        return
    found = get_power(forgetful, from_us=from_us, to_us=to_us, step_us=step_us, **asked)
    rest = _rest(found)
    if rest[0] == rest[1]:
        assert found.accounts == []
        return
    expected = get_power(whole, from_us=rest[0], to_us=rest[1], step_us=found.step_us, **asked)
    assert _buckets(found, from_us) == _buckets(expected, rest[0])


def _jobs(store: DuckDBStore) -> list[Job]:
    """Return all jobs. How often a figure was revised depends on what was told in which order."""
    return [replace(job, revised_us=None, revision=1) for job in list_jobs(store, limit=100).items]


def _ends(store: DuckDBStore) -> dict[tuple[str, bytes], int]:
    return {boot: span.end.at_us for boot, span in store.tails().items()}


def _compare(whole: DuckDBStore, forgetful: DuckDBStore, rng: Random) -> None:
    assert forgetful.energy_by_node() == whole.energy_by_node()
    assert list(map(astuple, forgetful.accounts(EVER))) == list(map(astuple, whole.accounts(EVER)))
    assert list(map(astuple, forgetful.watched(EVER))) == list(map(astuple, whole.watched(EVER)))
    assert _jobs(forgetful) == _jobs(whole)
    assert [n.last_unix_us for n in forgetful.nodes()] == [n.last_unix_us for n in whole.nodes()]
    assert _ends(forgetful) == _ends(whole)
    for node, from_us, to_us in _ranges(rng):
        _same_ledger(whole, forgetful, node, from_us, to_us)
        _same_power(whole, forgetful, node, from_us, to_us, rng.choice(_STEPS_S))
        assert residuals_uj(forgetful, Range(from_us, to_us, node)) == {}


@pytest.mark.parametrize("seed", [1])
def test_what_is_answered_is_what_was(tmp_path: Path, seed: int) -> None:
    """Every answer of a random history is that of a store which forgot nothing, but for what it leaves out.

    Reports that come late for a time that is forgotten are booked as exactly, and the books balance.
    """
    whole, forgetful, _ = _both(tmp_path, seed)
    rows_us = forgetful.books_kept().rows_us
    assert rows_us > _FIRST_US
    for table in ("ledger", "watched_reports"):
        gone = f"SELECT count(*) FROM {table} WHERE end_unix_us <= {rows_us}"
        assert forgetful._rows(gone) == [(0,)]
        assert whole._rows(gone) != [(0,)]
    _compare(whole, forgetful, Random(seed))
    assert embedded(forgetful, Policy.RESERVED) == []
    # Raw readings of the same time go too.
    for _ in Keeper(forgetful, Retention(raw_days=1)).steps(rows_us + DAY_US):
        pass
    assert forgetful.forgotten_us == rows_us
    assert embedded(forgetful, Policy.RESERVED) == []
    assert get_ledger(forgetful, node=None, from_us=0, to_us=EVER.to_us).residual_uj == 0
    for store in (whole, forgetful):
        store.close()


@pytest.mark.parametrize("seed", [1])
def test_back_to_a_time(tmp_path: Path, seed: int) -> None:
    """Taken back to a time whose rows are kept, it answers as if no later Report had come; then they come."""
    whole, forgetful, delivered = _both(tmp_path, seed)
    rows_us = forgetful.books_kept().rows_us
    forgetful.close()
    path = tmp_path / "forgetful"
    with pytest.raises(StoreError, match=r"known by hour alone; name 2026-.* or later"):
        rewind(str(path), rows_us + HOUR_US - 1)
    at_us = rows_us + HOUR_US + Random(seed).randrange(2 * HOUR_US)
    assert rewind(str(path), at_us) > 0
    early = DuckDBStore(tmp_path / "early")
    committer = Committer(early, IngestStats())
    for batch in delivered:
        if kept := [d for d in batch if d.end_us + d.realtime_offset_us <= at_us]:
            committer.apply(kept)
    again = DuckDBStore(path)
    assert again.books_kept().rows_us == rows_us
    _compare(early, again, Random(seed))
    assert embedded(again, Policy.RESERVED) == []
    # What is made anew by commits is the same as by rows.
    committer = Committer(again, IngestStats())
    for batch in delivered:
        committer.apply(list(batch))
    with again.writing():
        again._rolls.roll_everything(again._next_interval)
    _compare(whole, again, Random(seed))
    assert embedded(again, Policy.RESERVED) == []
    for store in (whole, early, again):
        store.close()


def test_the_check_reads_what_is_left(tmp_path: Path) -> None:
    """Sums whose rows are forgotten are held against readings and each other: one that is off is told."""
    whole, forgetful, _ = _both(tmp_path, 0)
    for table, column, told in (
        ("node_hours", "cpu_idle_uj", "residual"),
        ("fleet_hours", "cpu_idle_uj", "sums"),
        ("totals", "cpu_idle_uj", "sums"),
        ("watched_hours", "reported_us", "sums"),
        ("node_cell_hours", "energy_uj", "sums"),
        ("fleet_cell_minutes", "energy_uj", "sums"),
    ):
        forgetful._connection.execute(f"UPDATE {table} SET {column} = {column} + 1")
        assert told in {finding.check for finding in embedded(forgetful)}, table
        forgetful._connection.execute(f"UPDATE {table} SET {column} = {column} - 1")
    assert embedded(forgetful) == []
    for store in (whole, forgetful):
        store.close()


def test_finer_than_what_is_kept_is_refused(tmp_path: Path) -> None:
    """Whoever asks the store itself for parts of an hour whose rows are forgotten gets an error, not less."""
    whole, forgetful, _ = _both(tmp_path, 1)
    rows_us = forgetful.books_kept().rows_us
    part = Range(rows_us - HOUR_US // 2, rows_us + HOUR_US)
    for question in (forgetful.accounts, forgetful.booked_uj, forgetful.watched):
        with pytest.raises(StoreError, match="are forgotten"):
            question(part)
    with pytest.raises(StoreError, match="are forgotten"):
        forgetful.energy_over_time(part.from_us, part.to_us, 5_000_000, None)
    for store in (whole, forgetful):
        store.close()
