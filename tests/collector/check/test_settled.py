"""Readings that were moved into blocks are still those that the books were made of."""

from pathlib import Path

from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import Load, SimulatedNode

_LATER_US = 10 * 3_600_000_000


def test_many_series_are_booked_again_from_blocks(tmp_path: Path) -> None:
    """However many series a node has, each has its own readings in a block: booked again, nothing differs."""
    store = DuckDBStore(tmp_path / "books.duckdb")
    node = SimulatedNode()
    node.begin([Load(f"slurm.{n}", cpu_us=1_000_000 // n) for n in range(1, 30)])
    sent = []
    for _ in range(400):
        for _ in range(10):
            node.tick()
        sent.append(node.report())
    reports = decoded(node, sent)
    deliver(store, [reports])
    assert embedded(store, Policy.RESERVED) == []
    ended_us = reports[-1].end_us + reports[-1].realtime_offset_us
    done = list(Keeper(store, Retention(0, 0, 0)).steps(ended_us + _LATER_US))
    assert "moved" in done
    assert embedded(store, Policy.RESERVED) == []
    store.close()
