"""What the embedded store adds up answers as its rows do, whatever came when."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.forgetting import forget_narrow_cells
from joulebook.collector.store.duckdb.rolls import HOUR_US
from joulebook.collector.store.protocol import Range
from tests.collector.store.hours import NODES, batches
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_STEPS_S = (1, 5, 7, 30, 60, 90, 600, 900, 3600, 7200)


def _asked(store: DuckDBStore, rng: Random) -> list[Any]:
    """Return answers to questions about times that fall on bounds of minutes and hours, or anywhere."""
    told: list[Any] = [store.energy_by_node(), [(n.node, n.boot, n.last_unix_us) for n in store.nodes()]]
    told.append(list(map(astuple, store.totals(["idle", "unattributed", "job:slurm.1", "x"], EVER))))
    for _ in range(8):
        whole_us = rng.choice((1, 1_000_000, 60_000_000, 3_600_000_000))
        ends = sorted((WALL_US + rng.randrange(60_000_000_000)) // whole_us * whole_us for _ in range(2))
        node = rng.choice((None, *NODES))
        selected = Range(ends[0], ends[1] + rng.randrange(2), node)
        if rng.random() < 0.3:
            # Days fit only here.
            selected = Range(selected.from_us - 86_400_000_000, selected.to_us + 2 * 86_400_000_000, node)
        told.append(list(map(astuple, store.accounts(selected))))
        told.append(store.booked_uj(selected))
        told.append(list(map(astuple, store.watched(selected))))
        told.append(astuple(store.summed(selected, rng.randrange(1, 4))))
        step_us = rng.choice(_STEPS_S) * 1_000_000
        origin_us = selected.from_us // step_us * step_us
        times = (selected.from_us, selected.to_us, step_us, node)
        told.append(sorted(store.energy_over_time(*times, origin_us)))
        told.append(sorted(store.energy_over_time(*times)))
        told.append(sorted(store.energy_over_time(*times, None, rng.randrange(1, 4))))
    return told


@pytest.mark.parametrize("seed", range(2))
def test_roll_ups_answer_as_rows_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """A store that rolls up now and then, one that does all at once, and one that never does: the same.

    So is one that forgot its narrowest cells.
    """
    now_and_then, at_once, never = (DuckDBStore(tmp_path / name) for name in ("often", "once", "never"))
    monkeypatch.setattr(never._rolls, "roll", lambda _ends, _next_id: None)
    monkeypatch.setattr(at_once._rolls, "roll", lambda _, next_id: at_once._rolls.roll_everything(next_id))
    stores = (now_and_then, at_once, never)
    committers = [Committer(store, IngestStats()) for store in stores]
    for batch in batches(Random(seed)):
        for committer in committers:
            committer.apply(list(batch))
    ((total_id, minute_id, hour_id, day_id),) = now_and_then._rows("SELECT * FROM added_up")
    assert min(total_id, minute_id, hour_id, day_id) > 0
    assert at_once._rows("SELECT count(DISTINCT bucket_us) > 1 FROM node_days") == [(True,)]
    assert never._rows("SELECT * FROM added_up") == [(0, 0, 0, 0)]
    expected = _asked(never, Random(seed))
    for store in (now_and_then, at_once):
        for found, wanted in zip(_asked(store, Random(seed)), expected, strict=True):
            assert found == wanted
        assert residuals_uj(store, EVER) == {}
        for node in (None, *NODES):
            ledger = get_ledger(store, node=node, from_us=0, to_us=EVER.to_us)
            assert (ledger.residual_uj, ledger.measured_uj > 0) == (0, True)
    for hours in (2, 7, 1 << 20):
        with now_and_then.writing() as connection:
            forget_narrow_cells(connection, (WALL_US // HOUR_US + 7 + hours) * HOUR_US)
        for found, wanted in zip(_asked(now_and_then, Random(seed)), expected, strict=True):
            assert found == wanted
    assert now_and_then._rows("SELECT count(*) FROM fleet_cells") < at_once._rows(
        "SELECT count(*) FROM fleet_cells"
    )
    for store in stores:
        store.close()


def test_the_check_reads_minutes_before_the_hour_is_added_up(tmp_path: Path) -> None:
    """Minutes that are no hour yet are held against rows: one that is off is told."""
    store = DuckDBStore(tmp_path / "books")
    committer = Committer(store, IngestStats())
    for batch in batches(Random(0)):
        committer.apply(list(batch))
        # The first hour is behind, and some of the next one is rolled up by minute.
        if store._rows("SELECT count(*) > 0 AND any_value(hour_id) > 0 FROM fleet_cell_fresh, added_up") == [
            (True,)
        ]:
            break
    assert embedded(store) == []
    for change in (1, -1):
        store._connection.execute("UPDATE fleet_cell_fresh SET energy_uj = energy_uj + ?", [change])
        assert {finding.check for finding in embedded(store)} == ({"sums"} if change > 0 else set())
    store.close()


def test_totals_beyond_64_bits_are_told(tmp_path: Path) -> None:
    """What an account received is exact, also where a sum of it has more bits than a machine's word."""
    store = DuckDBStore(tmp_path / "books")
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    with store.writing():
        store._rolls.roll_everything(store._next_interval)
    names = ["idle", "job:slurm.1"]
    before = store.totals(names, EVER)
    store._connection.execute("UPDATE totals SET variance_uj2 = variance_uj2 + (1::HUGEINT << 70)")
    assert store.totals(names, EVER) == [
        replace(row, variance_uj2=row.variance_uj2 + (1 << 70)) for row in before
    ]
    assert len(before) == 2
    store.close()
