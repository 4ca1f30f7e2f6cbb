"""The books are a function of the set of Reports: neither order, nor repetition, nor restarts matter."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.domains import root_energy_uj
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.v1 import report_pb2
from tests.simulated.delivery import EVER, books_of, decoded, deliver, energy_uj, total_uj
from tests.simulated.node import Load, SimulatedNode


def _history(node: SimulatedNode, reports: int = 6, wall_steps: bool = False) -> list[Decoded]:
    """Return Reports in which workloads come and go, the agent restarts and the wall clock steps back."""
    sent: list[report_pb2.Report] = []
    loads = [Load("slurm.1", cpu_us=2_000_000, memory_bytes=1 << 30)]
    node.begin(loads)
    for number in range(reports):
        for _ in range(3):
            node.tick()
        sent.append(node.report())
        if number == 1:
            node.begin([*loads, Load("slurm.2", cpu_us=1_500_000, memory_bytes=1 << 31)])
        if number == 2 and wall_steps:
            node.wall_us -= 3_600_000_000
        if number == 3:
            node.tick()
            node.restart_agent()
    return decoded(node, sent)


def _measured_uj(store: DuckDBStore) -> int:
    """Add the raw energy up: what Reports hold and what lies between them."""
    total = 0
    for raw in store.raw_energy(EVER):
        for one in raw.energy_uj:
            total += int(root_energy_uj(one, raw.layout.domain_names).sum())
    for last, following in store.raw_gaps(EVER):
        gap = gap_between(last, following)
        total += int(gap.by_class_uj.sum()) if gap else 0
    return total


@pytest.fixture(scope="module")
def truth() -> tuple[list[Decoded], dict[tuple[str, str], tuple[int, ...]], int]:
    """Return Reports, the books that they give in order and once each, and what the node truly drew."""
    node = SimulatedNode(memory_total=8 << 30)
    reports = _history(node, wall_steps=True)
    store = DuckDBStore(":memory:")
    deliver(store, [[r] for r in reports])
    books, measured_uj = books_of(store), _measured_uj(store)
    assert total_uj(store) == measured_uj == node.measured_uj
    # What passed while the agent was down is known to the counters and to nobody else.
    assert energy_uj(store, "unattributed") == 75_000_000 + 6_000_000
    store.close()
    return reports, books, node.measured_uj


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_order_any_batches_any_repetition(
    truth: tuple[list[Decoded], dict[tuple[str, str], tuple[int, ...]], int], data: st.DataObject
) -> None:
    """Reports shuffled, repeated up to five times, in any batches and through restarts: the same books."""
    reports, books, measured_uj = truth
    deliveries = data.draw(
        st.lists(st.integers(0, len(reports) - 1), max_size=20).flatmap(
            lambda more: st.permutations([*range(len(reports)), *more, *([0] * 4)])
        )
    )
    store = DuckDBStore(":memory:")
    at = 0
    while at < len(deliveries):
        size = data.draw(st.integers(1, 6))
        # A new Committer knows only what the store holds: a collector that restarted.
        deliver(store, [[reports[i] for i in deliveries[at : at + size]]])
        at += size
    assert books_of(store) == books
    assert _measured_uj(store) == total_uj(store) == measured_uj
    store.close()


def test_a_store_opened_again_goes_on(tmp_path: Path) -> None:
    """A collector that restarts on its file applies nothing twice and loses nothing."""
    node = SimulatedNode()
    reports = _history(node)
    path = tmp_path / "joulebook.duckdb"
    for batch in (reports[:2], reports[1:4], reports[2:]):
        store = DuckDBStore(path)
        deliver(store, [batch])
        store.close()
    store = DuckDBStore(path)
    assert total_uj(store) == node.measured_uj
    assert len(store.nodes()) == 1
    store.close()


def test_a_gap_is_unattributed_until_its_report_comes() -> None:
    """A missing Report's energy waits in unattributed, and goes to its owners when it arrives late."""
    node = SimulatedNode()
    reports = _history(node)
    store = DuckDBStore(":memory:")
    deliver(store, [[*reports[:1], *reports[2:]]])
    before = energy_uj(store, "unattributed")
    assert total_uj(store) == node.measured_uj
    deliver(store, [[reports[1]]])
    assert before - energy_uj(store, "unattributed") == int(
        sum(reports[1].readings.values[r, 1:].sum() for r in reports[1].readings.layout.energy_row)
    )
    assert total_uj(store) == node.measured_uj


def test_two_agents_on_a_node_are_not_booked_twice() -> None:
    """A Report that overlaps another of the same boot without being it is refused."""
    node = SimulatedNode()
    reports = _history(node, 2)
    shifted = SimulatedNode(now_us=node.now_us - 4_500_000)
    shifted.begin([])
    shifted.tick()
    (other,) = decoded(shifted, [shifted.report()])
    store = DuckDBStore(":memory:")
    stats = deliver(store, [reports, [other]])
    assert stats.reports == 2
    assert total_uj(store) == node.measured_uj


def test_a_reboot_begins_anew() -> None:
    """Another boot's Reports stand beside the first one's: no gap, no energy made up between them."""
    store = DuckDBStore(":memory:")
    first = SimulatedNode(boot=b"a" * 16)
    deliver(store, [_history(first)])
    unattributed_uj = energy_uj(store, "unattributed")
    second = SimulatedNode(boot=b"b" * 16, now_us=1_000_000, session_us=500_000)
    second.begin([Load("slurm.9", cpu_us=1_000_000)])
    second.tick()
    deliver(store, [decoded(second, [second.report()])])
    assert energy_uj(store, "unattributed") == unattributed_uj
    assert total_uj(store) == first.measured_uj + second.measured_uj


def test_an_earlier_boots_reports_come_late_in_any_order() -> None:
    """Among another boot's Reports the earlier one's come one by one, some twice: each is booked once."""
    store = DuckDBStore(":memory:")
    first = SimulatedNode(boot=b"a" * 16)
    early = _history(first)
    second = SimulatedNode(boot=b"b" * 16, now_us=1_000_000, session_us=500_000)
    second.begin([Load("slurm.9", cpu_us=1_000_000)])
    second.tick()
    late = [early[0], early[3], early[5], *decoded(second, [second.report()]), early[1], early[5], early[4]]
    stats = deliver(store, [[one] for one in (*late, *early)])
    assert (stats.reports, stats.duplicates) == (7, 6)
    assert total_uj(store) == _measured_uj(store) == first.measured_uj + second.measured_uj
    store.close()
