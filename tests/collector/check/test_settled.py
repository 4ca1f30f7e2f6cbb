"""Readings that were moved into blocks are still those that the books were made of."""

from pathlib import Path

from joulebook.collector.check.books import embedded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_LATER_US = 10 * HOUR_US


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


def test_gaps_beside_forgotten_readings_are_not_found_wrong(tmp_path: Path) -> None:
    """What a gap had is not known where readings beside it are forgotten; the rest is still checked."""
    store = DuckDBStore(tmp_path / "books.duckdb")
    first, second = SimulatedNode(), SimulatedNode(boot=b"c" * 16, wall_us=WALL_US + 7 * HOUR_US)
    for node in (first, second):
        node.begin([])
        sent = []
        for _ in range(6):
            node.tick(1_500_000_000)
            node.tick(1_000_000)
            sent.append(node.report())
            # Nobody watches for a moment: a gap before the next one.
            node.tick(2_000_000)
            node.restart_agent()
        deliver(store, [decoded(node, sent)])
    ended_us = first.wall_us + 15 * HOUR_US
    for hours in (12, 6, 5):
        # All but the beginning is kept; of the first boot nothing; less and less of the second one.
        kept = Retention(raw_days=hours / 24)
        assert "forgot readings" in list(Keeper(store, kept).steps(ended_us))
        assert embedded(store, Policy.RESERVED) == [], hours
    store.close()
