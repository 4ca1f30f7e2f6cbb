"""What meters delivered is known from when a Report comes, and read again from what is stored."""

import pytest

from joulebook.collector.queries.audit import measured_uj
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.protocol import Range
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import WALL_US, Load, SimulatedNode

_RANGES = [EVER, Range(WALL_US + 10_000_000, WALL_US + 20_000_000), Range(0, EVER.to_us, "n1"), Range(0, 1)]


@pytest.fixture
def store() -> DuckDBStore:
    """A store with Reports of two nodes and a gap, none of them rolled up."""
    made = DuckDBStore(":memory:")
    for name in ("n1", "n2"):
        node = SimulatedNode(name=name)
        node.begin([Load("slurm.1", cpu_us=1_000_000)])
        sent = []
        for number in range(6):
            if number == 4:
                node.tick(3_000_000)
                node.restart_agent()
            for _ in range(5):
                node.tick()
            sent.append(node.report())
        deliver(made, [decoded(node, sent)])
    return made


def _read_off(store: DuckDBStore, selected: Range) -> dict[str, int]:
    return measured_uj(store.raw_energy(selected), store.raw_gaps(selected))


@pytest.mark.parametrize("selected", _RANGES)
@pytest.mark.parametrize("noted", [True, False], ids=["noted", "from before it was noted"])
def test_measured_is_what_the_readings_say(store: DuckDBStore, selected: Range, noted: bool) -> None:
    """Noted when they came or not, rolled up or not: the same as read off all raw readings."""
    if not noted:
        store._connection.execute("UPDATE watched_reports SET measured_uj = NULL")
    expected = _read_off(store, selected)
    assert bool(expected) == (selected.to_us > 1)
    assert store.measured(selected).by_node == expected
    assert [*Keeper(store).roll_up()]
    assert store.measured(selected).by_node == expected


def test_a_roll_up_reads_what_is_stored(store: DuckDBStore) -> None:
    """A figure that was noted wrongly shows until the roll-up, and not after it."""
    expected = _read_off(store, EVER)
    store._connection.execute("UPDATE watched_reports SET measured_uj = measured_uj + 1 WHERE node_id = 0")
    assert store.measured(EVER).by_node == {"n1": expected["n1"] + 6, "n2": expected["n2"]}
    assert [*Keeper(store).roll_up()]
    assert store.measured(EVER).by_node == expected
