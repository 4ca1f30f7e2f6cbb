"""Numbers that a failed commit gave are given anew, and mean what they then are given for."""

import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.protocol import StoreError
from tests.collector.store.histories import history
from tests.simulated.delivery import EVER
from tests.simulated.node import SimulatedNode


def test_a_layout_of_a_failed_commit_is_forgotten() -> None:
    """After a node's commit failed, another's layout takes its number, and each node's energy is its own."""
    store = DuckDBStore(":memory:")
    committer = Committer(store, IngestStats())
    first, second = history(SimulatedNode()), history(SimulatedNode(name="n2", boot=b"c" * 16))
    # The last table that a commit writes to.
    store._connection.execute("ALTER TABLE jobs RENAME TO gone")
    with pytest.raises(StoreError):
        committer.apply(first)
    store._connection.execute("ALTER TABLE gone RENAME TO jobs")
    committer.apply(second)
    committer.apply(first)
    for _ in Keeper(store).roll_up():
        pass
    assert residuals_uj(store, EVER) == {}
    store.close()
