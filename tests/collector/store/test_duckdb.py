"""The embedded store commits all of a batch or nothing, and gives readings back as they came."""

from pathlib import Path

import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import StoreError
from tests.simulated.delivery import EVER, books_of, decoded, deliver, total_uj
from tests.simulated.node import Load, SimulatedNode

TABLES = ("nodes", "boots", "accounts", "layouts", "intervals", "ledger", "jobs")


def _node() -> SimulatedNode:
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    node.tick()
    return node


@pytest.mark.parametrize("table", TABLES)
def test_a_commit_that_fails_anywhere_leaves_nothing(tmp_path: Path, table: str) -> None:
    """Whichever table cannot be written, nothing of the batch stays, and the same batch goes in later."""
    path = tmp_path / "books"
    store = DuckDBStore(path)
    node = _node()
    batch = decoded(node, [node.report()])
    committer = Committer(store, IngestStats())
    store._connection.execute(f"ALTER TABLE {table} RENAME TO gone")
    with pytest.raises(StoreError, match="not written"):
        committer.apply(batch)
    store._connection.execute(f"ALTER TABLE gone RENAME TO {table}")
    for each in TABLES:
        assert store._rows(f"SELECT count(*) FROM {each}") == [(0,)]
    assert len(committer.apply(batch).new) == 1
    assert total_uj(store) == node.measured_uj
    store.close()
    again = DuckDBStore(path)
    assert books_of(again) != {}
    assert len(again.tails()) == 1
    again.close()


def test_readings_are_kept_as_they_came() -> None:
    """What is stored gives the Report's readings back, value by value."""
    store = DuckDBStore(":memory:")
    node = _node()
    node.tick()
    (report,) = decoded(node, [node.report()])
    deliver(store, [[report]])
    for row, key in enumerate(report.readings.layout.series):
        subject = key.domain or key.device or key.workload or None
        (points,) = store.points(EVER, key.metric, subject)
        values = report.readings.values[row]
        change = values[1:] if report.readings.layout.is_counter[row] else values.cumsum()[1:]
        assert points.values.tolist() == change.tolist()
        assert points.interval_us.tolist() == report.readings.interval_us.tolist()
    store.close()
