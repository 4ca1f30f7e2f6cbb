"""An embedded store books hours anew, exactly, whatever came when and wherever it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from random import Random

import pyarrow.compute as pc
import pytest

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.jobs import get_job
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.changes import COLUMNS, replace_rows
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.protocol import StoreError
from joulebook.v1 import report_pb2
from tests.collector.store.hours import batches
from tests.collector.store.test_duckdb_rolls import _asked
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_LATER_US = 1 << 52


def _kept(store: DuckDBStore) -> Iterator[str]:
    return Keeper(store, policy=Policy.RESERVED, settle_us=0).steps(_LATER_US)


@pytest.mark.parametrize("seed", range(1))
def test_whatever_came_when_the_books_are_the_same(tmp_path: Path, seed: int) -> None:
    """Reports late by hours, housekeeping that stops anywhere: rows are what all Reports of an hour make.

    Everything that is added up, at whatever marks, is what the rows add up to.
    """
    rng = Random(seed)
    often, once, never = (DuckDBStore(tmp_path / name) for name in ("often", "once", "never"))
    committers = [Committer(store, IngestStats()) for store in (often, once, never)]
    steps: Iterator[str] = iter(())
    done = []
    for number, batch in enumerate(batches(rng)):
        for committer in committers:
            committer.apply(list(batch))
        for _ in range(rng.choice((0, 0, 3, 12))):
            if (step := next(steps, None)) is None:
                steps = _kept(often)
            done.append(step)
        if number % 10 == 9:
            assert embedded(often, Policy.RESERVED) == []
    assert "booked anew" in done
    for store in (often, once):
        assert list(_kept(store))
        assert embedded(store, Policy.RESERVED) == []
        # Nothing is due any more.
        assert "booked anew" not in list(_kept(store))
    for found, wanted in zip(_asked(often, Random(seed)), _asked(once, Random(seed)), strict=True):
        assert found == wanted
    live, settled = never.accounts(EVER), once.accounts(EVER)
    assert [astuple(row) for row in live] != [astuple(row) for row in settled]
    # Each node's energy is what it was, and so is the time that each account was observed.
    assert never.booked_uj(EVER) == once.booked_uj(EVER)
    observed = {(row.node, row.account): row.observed_us for row in settled}
    assert {(row.node, row.account): row.observed_us for row in live}.items() <= observed.items()
    # Where rows are forgotten nothing is booked anew any more; what comes late stays as it was booked.
    ((last_us,),) = once._rows("SELECT max(end_unix_us) FROM watched_reports")
    kept = Retention(ledger_days=1, minutes_days=1)
    node = SimulatedNode(name="n1", boot=b"another" * 2 + b"..", wall_us=WALL_US + 8 * HOUR_US)
    node.begin([Load("slurm.1", cpu_us=1_500_000)])
    for reports in ([], decoded(node, _sent(node))):
        committers[1].apply(reports)
        for _ in Keeper(once, kept, policy=Policy.RESERVED, settle_us=0).steps(last_us + 30 * HOUR_US):
            pass
        assert once.books_kept().rows_us > WALL_US + 9 * HOUR_US
        assert embedded(once, Policy.RESERVED) == []
    for store in (often, once, never):
        store.close()


def test_cells_that_are_no_hour_yet_are_told(tmp_path: Path) -> None:
    """Reports that are rolled up by minute and not by hour are booked anew in their cells of a minute too."""
    store = DuckDBStore(tmp_path / "books")
    committer = Committer(store, IngestStats())
    fresh = "SELECT account_id, cell_us, energy_uj FROM fleet_cell_fresh ORDER BY ALL"
    for batch in batches(Random(0)):
        committer.apply(list(batch))
        ((hour_id,),) = store._rows("SELECT hour_id FROM added_up")
        if hour_id and len(was := store._rows(fresh)) > 40:
            break
    assert list(_kept(store)).count("booked anew")
    assert store._rows(fresh) != was
    assert embedded(store, Policy.RESERVED) == []
    store.close()


def _sent(node: SimulatedNode) -> list[report_pb2.Report]:
    for _ in range(10):
        node.tick()
    return [node.report()]


def _two_jobs() -> tuple[SimulatedNode, list[Decoded]]:
    """Return a node on which a job draws 5 J a second of CPU time and another one 15, and its Reports."""
    node = SimulatedNode(cpus=8)
    light, hard = (Load(f"slurm.{n}", cpu_us=2_000_000, start_unix_us=WALL_US) for n in (1, 2))
    sent = []
    for loads, mean_j in (([light], 5), ([light, hard], 10), ([hard], 15), ([light, hard], 10), ([], 0)):
        node.active_uj_per_cpu_s = mean_j * 1_000_000
        node.begin(loads)
        for _ in range(6):
            for _ in range(10):
                node.tick()
            sent.append(node.report())
    return node, decoded(node, sent)


def test_a_job_that_ended_is_settled(tmp_path: Path) -> None:
    """Its figure is provisional, then settled: nearer to the truth, one revision on, the old one still told.

    A late Report makes it provisional again, until its hour is booked anew.
    """
    store = DuckDBStore(tmp_path / "books")
    _, reports = _two_jobs()
    late = reports.pop(3)
    deliver(store, [reports])
    live = {job: get_job(store, job) for job in ("slurm.1", "slurm.2")}
    assert {(job.state, job.settled, job.revision) for job in live.values()} == {("ended", False, 1)}
    list(_kept(store))
    for name, truth_j in (("slurm.1", 5 * 2 * 170), ("slurm.2", 15 * 2 * 180)):
        job, was = get_job(store, name), live[name]
        assert (job.settled, job.revision) == (True, 2)
        assert abs(job.active_uj - truth_j * 10**6) * 4 < abs(was.active_uj - truth_j * 10**6)
        assert [(w.revision, w.energy_uj, w.plus_minus_uj) for w in job.superseded] == [
            (1, was.energy_uj, was.plus_minus_uj)
        ]
    assert sum(get_job(store, name).energy_uj for name in live) == sum(j.energy_uj for j in live.values())
    deliver(store, [[late]])
    assert (get_job(store, "slurm.1").settled, get_job(store, "slurm.1").revision) == (False, 3)
    list(_kept(store))
    again = get_job(store, "slurm.1")
    assert again.settled
    assert [was.revision for was in again.superseded] == [1, 3][: again.revision - 2]
    assert embedded(store, Policy.RESERVED) == []
    store.close()


def test_a_store_taken_back_to_within_a_settled_hour(tmp_path: Path) -> None:
    """What is left of the hour is booked as if the rest had never come."""
    (tmp_path / "never").mkdir()
    whole, part = DuckDBStore(tmp_path / "books"), DuckDBStore(tmp_path / "never" / "books")
    _, reports = _two_jobs()
    deliver(whole, [reports])
    deliver(part, [reports[:9]])
    list(_kept(whole))
    list(_kept(part))
    whole.close()
    last = reports[8]
    assert rewind(str(tmp_path / "books"), last.end_us + last.realtime_offset_us) == len(reports) - 9
    taken = DuckDBStore(tmp_path / "books")
    assert embedded(taken, Policy.RESERVED) == []
    assert taken.accounts(EVER) == part.accounts(EVER)
    list(_kept(taken))
    assert taken.accounts(EVER) == part.accounts(EVER)
    assert embedded(taken, Policy.RESERVED) == []
    taken.close()
    part.close()


def test_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    """Rows that do not have their Reports' energy are refused, and the books are as they were."""
    store = DuckDBStore(tmp_path / "books")
    _, reports = _two_jobs()
    deliver(store, [reports])
    before = store.accounts(EVER)
    rows = store._table(f"SELECT {', '.join(COLUMNS)} FROM ledger", [])
    column = rows.column_names.index("cpu_active_uj")
    wrong = rows.set_column(column, "cpu_active_uj", pc.add(rows["cpu_active_uj"], 1))
    with pytest.raises(StoreError, match="30 Reports would not balance"), store.writing() as connection:
        replace_rows(connection, wrong)
    assert store.accounts(EVER) == before
    with store.writing() as connection:
        assert replace_rows(connection, rows) == {}
    store.close()


def test_nothing_temporary_stays_behind(tmp_path: Path) -> None:
    """Whether energy moves or only its ± does, rolled up or not: no table is left to collide with."""
    store = DuckDBStore(tmp_path / "books")
    _, reports = _two_jobs()
    deliver(store, [reports])
    for _ in range(2):
        rows = store._table(f"SELECT {', '.join(COLUMNS)} FROM ledger", [])
        column = rows.column_names.index("systematic_uj")
        wider = rows.set_column(column, "systematic_uj", pc.add(rows["systematic_uj"], 1))
        with store.writing() as connection:
            assert set(replace_rows(connection, wider).values()) == {0}
            assert replace_rows(connection, rows)
        list(_kept(store))
        # What is temporary is the writing connection's own.
        for names in ("table_name FROM duckdb_tables()", "view_name FROM duckdb_views()"):
            with store.writing() as connection:
                left = connection.execute(f"SELECT {names} WHERE temporary AND NOT internal").fetchall()
            assert left == []
    assert embedded(store, Policy.RESERVED) == []
    store.close()
