"""Every store books alike, whatever order Reports come in, and whoever sent them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1.catalogue import by_name
from tests.collector.store.conftest import Kind
from tests.collector.store.histories import AWKWARD, history
from tests.collector.store.told import READS, tails
from tests.simulated.delivery import EVER, books_of, deliver, energy_uj, total_uj
from tests.simulated.node import SimulatedNode

ORDERS: dict[str, list[list[int]]] = {
    "one by one": [[i] for i in range(8)],
    "at once": [[*range(8)]],
    "backwards": [[i] for i in reversed(range(8))],
    "every one three times": [[i, i] for i in range(8)] + [[*range(8)]],
    "gaps filled one after the other": [[0], [7], [3], [5], [1, 2], [6], [4]],
    "gaps filled in batches": [[0, 4, 7], [2, 5], [1, 6, 4], [3]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("step_us", [0, 3_600_000_000, 3_000_000], ids=str)
def test_any_order_gives_the_same_books(kind: Kind, order: str, step_us: int) -> None:
    """Out of order, repeated, gaps filled, the wall clock set back: the same books, in balance."""
    node = SimulatedNode(memory_total=8 << 30)
    reports = history(node, step_us=step_us)
    truth = DuckDBStore(":memory:")
    deliver(truth, [reports])
    name = kind.fresh()
    for batch in ORDERS[order]:
        # A new store each time: a collector that knows only what was stored.
        deliver(kind.opened(name), [[reports[i] for i in batch]])
        kind.close()
    store = kind.opened(name)
    assert books_of(store) == books_of(truth)
    for read in ("accounts", "watched", "raw_energy", "raw_gaps"):
        assert READS[read](store, EVER) == READS[read](truth, EVER), read
    assert tails(store) == tails(truth)
    assert [(j.job, j.name, j.user, j.exit_status) for j in store.jobs()] == [
        (j.job, j.name, j.user, j.exit_status) for j in truth.jobs()
    ]
    assert [dict(n.sources) for n in store.nodes()] == [dict(n.sources) for n in truth.nodes()]
    assert get_ledger(store, node="n1", from_us=0, to_us=EVER.to_us).residual_uj == 0
    assert total_uj(store) == node.measured_uj


def test_awkward_names_are_kept(kind: Kind) -> None:
    """A workload's name may hold whatever is printable; its series and account bear it."""
    node = SimulatedNode()
    store, reports = kind.opened(), history(node)
    deliver(store, [reports])
    number = by_name()["cpu_us"].number
    assert [p.key.workload for p in store.points(EVER, number, AWKWARD)] == [AWKWARD]
    assert energy_uj(store, f"job:{AWKWARD}") > 0


def test_reboots_stand_beside_each_other(kind: Kind) -> None:
    """Another boot that shows the same wall clock, to the microsecond, takes nothing from the first."""
    store = kind.opened()
    first, second = SimulatedNode(), SimulatedNode(boot=b"b" * 16)
    deliver(store, [history(first)])
    deliver(store, [history(second)])
    assert total_uj(store) == first.measured_uj + second.measured_uj
    assert get_ledger(store, node="n1", from_us=0, to_us=EVER.to_us).residual_uj == 0
    assert len(store.tails()) == 2


def test_a_restarted_collector_goes_on(kind: Kind) -> None:
    """A store that is opened again applies nothing twice and loses nothing."""
    node = SimulatedNode()
    reports = history(node)
    name = kind.fresh()
    batches: Sequence[list[Decoded]] = (reports[:2], reports[1:4], reports[2:])
    duplicates = 0
    for batch in batches:
        duplicates += deliver(kind.opened(name), [batch]).duplicates
        kind.close()
    assert duplicates == 3
    assert total_uj(kind.opened(name)) == node.measured_uj
