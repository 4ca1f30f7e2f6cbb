"""What the agent measured reaches the collector once, through restarts and refusals."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.outbox import Entry, Outbox
from joulebook.agent.spool.spool import Spool
from joulebook.agent.uplink import Uplink
from joulebook.collector.store.duckdb import DuckDBStore
from tests.simulated.delivery import EVER, total_uj
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.server import IngestServer

_PATIENCE_S = 300.0


def _until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come about."""
    pause = threading.Event()
    deadline_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        pause.wait(0.02)


def _fill(node: SimulatedNode, outbox: Outbox, reports: int) -> None:
    for _ in range(reports):
        node.tick()
        report = node.report()
        outbox.put(Entry(report, node.layouts[report.layout_hash]))


@pytest.fixture
def node() -> SimulatedNode:
    """Return a node with a job."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    return node


def test_a_collector_that_restarts_in_mid_stream_misses_nothing(tmp_path: Path, node: SimulatedNode) -> None:
    """Reports go on through three collectors on the same file; the books hold every joule once."""
    path = tmp_path / "joulebook.duckdb"
    outbox = Spool(None, memory_reports=10_000)
    port = 0
    uplink: Uplink | None = None
    for _ in range(3):
        store = DuckDBStore(path)
        with IngestServer(store, port) as server:
            port = server.port
            if uplink is None:
                uplink = Uplink([("127.0.0.1", port)], outbox)
                uplink.start()
            _fill(node, outbox, 150)
            # Left in mid-stream: some Reports are stored, some on their way, some not sent.
            _until(lambda s=server: s.stats.reports > 20)  # type: ignore[misc]
        store.close()
    store = DuckDBStore(path)
    with IngestServer(store, port):
        _until(lambda: not len(outbox))
        assert uplink is not None
        uplink.stop(_PATIENCE_S)
    assert total_uj(store) == node.measured_uj
    assert sum(row.gap_us for row in store.watched(EVER)) == 0
    store.close()


def test_stop_sends_what_is_left(node: SimulatedNode) -> None:
    """An agent that is stopped hands over its last Report first."""
    store = DuckDBStore(":memory:")
    outbox = Spool(None, memory_reports=100)
    with IngestServer(store) as server:
        uplink = Uplink([("127.0.0.1", server.port)], outbox)
        uplink.start()
        _fill(node, outbox, 3)
        uplink.stop(_PATIENCE_S)
        assert len(outbox) == 0
        assert total_uj(store) == node.measured_uj
    store.close()


def test_a_refused_report_does_not_hold_up_the_rest(node: SimulatedNode) -> None:
    """A Report that is refused for good is dropped and counted; its energy is booked as unattributed."""
    store = DuckDBStore(":memory:")
    outbox = Spool(None, memory_reports=100)
    with IngestServer(store) as server:
        uplink = Uplink([("127.0.0.1", server.port)], outbox)
        uplink.start()
        _fill(node, outbox, 2)
        node.tick()
        bad = node.report()
        bad.values[0] = -1
        outbox.put(Entry(bad, node.layouts[bad.layout_hash]))
        _fill(node, outbox, 2)
        uplink.stop(_PATIENCE_S)
        assert (len(outbox), outbox.counts.refused) == (0, 1)
    assert total_uj(store) == node.measured_uj
    unattributed = [a for a in store.accounts(EVER) if a.account == "unattributed"]
    assert sum(sum(a.active_uj) for a in unattributed) == 56_000_000
    store.close()


def test_without_a_collector_the_newest_reports_are_kept(node: SimulatedNode) -> None:
    """With nobody to send to, the outbox keeps its size and the newest Reports, for when there is."""
    outbox = Spool(None, memory_reports=5)
    uplink = Uplink([("127.0.0.1", 1)], outbox)
    uplink.start()
    _fill(node, outbox, 12)
    uplink.stop(0)
    assert (len(outbox), outbox.counts.dropped) == (5, 7)
    store = DuckDBStore(":memory:")
    with IngestServer(store) as server:
        second = Uplink([("127.0.0.1", server.port)], outbox)
        second.start()
        second.stop(_PATIENCE_S)
    assert len(outbox) == 0
    # What came before the first Report that arrived has no reading on its other side.
    assert total_uj(store) == node.measured_uj * 5 // 12
    store.close()


def test_when_a_collector_dies_the_next_one_takes_over(tmp_path: Path, node: SimulatedNode) -> None:
    """Reports go to the next address while the first is down, and home again in order when it is back."""
    outbox = Spool(tmp_path / "spool")
    first, second = DuckDBStore(":memory:"), DuckDBStore(":memory:")
    with IngestServer(first) as server:
        port = server.port
    with IngestServer(second) as other:
        uplink = Uplink([("127.0.0.1", port), ("127.0.0.1", other.port)], outbox, home_s=0.05)
        uplink.start()
        _fill(node, outbox, 5)
        _until(lambda: other.stats.reports == 5)
        with IngestServer(first, port) as server:
            # Home is looked for now and then; what is put in until then goes to either.
            while not server.stats.reports:
                _fill(node, outbox, 1)
                _until(lambda: not len(outbox))
            elsewhere = other.stats.reports
            _fill(node, outbox, 5)
            uplink.stop(_PATIENCE_S)
            assert other.stats.reports == elsewhere
    assert len(outbox) == 0
    # It left in order, so that even stores which know nothing of each other counted each Report once.
    gaps_uj = sum(sum(a.active_uj) for a in first.accounts(EVER) if a.account == "unattributed")
    assert total_uj(first) - gaps_uj + total_uj(second) == node.measured_uj
    outbox.close()
    first.close()
    second.close()


def test_live_reports_do_not_wait_for_a_backlog(tmp_path: Path, node: SimulatedNode) -> None:
    """Beside a backlog that is sent slowly, what is measured now arrives now."""
    outbox = Spool(tmp_path / "spool")
    _fill(node, outbox, 300)
    store = DuckDBStore(":memory:")
    with IngestServer(store) as server:
        # After the first burst it takes minutes for the backlog; live Reports take part of the window only.
        uplink = Uplink([("127.0.0.1", server.port)], outbox, replay_per_s=0.1)
        uplink.start()
        _until(lambda: server.stats.reports >= 64)
        for _ in range(5):
            _fill(node, outbox, 1)
            end_us = node.wall_us + node.now_us - 50_000_000
            _until(lambda at=end_us: any(row.last_unix_us >= at for row in store.nodes()))  # type: ignore[misc]
        assert len(outbox) > 100
        uplink.stop(0)
    outbox.close()
    store.close()


def test_a_report_from_the_future_is_kept_and_taken_later(tmp_path: Path, node: SimulatedNode) -> None:
    """With a clock ahead of the collector's, Reports wait instead of being lost, and are taken in the end."""
    now_us = 0
    outbox = Spool(tmp_path / "spool", clock=lambda: now_us)
    store = DuckDBStore(":memory:")
    node.wall_us = 2_500_000_000_000_000
    with IngestServer(store, max_future_s=0) as server:
        uplink = Uplink([("127.0.0.1", server.port)], outbox)
        uplink.start()
        _fill(node, outbox, 3)
        _until(lambda: server.stats.refused["OUT_OF_RANGE"] == 3)
        now_us = 299_000_000
        _fill(node, outbox, 1)
        _until(lambda: server.stats.refused["OUT_OF_RANGE"] == 4)
        now_us = 300_000_000
        _fill(node, outbox, 1)
        # All are offered again.
        _until(lambda: server.stats.refused["OUT_OF_RANGE"] >= 9)
        assert len(outbox) == 5
        uplink.stop(0)
    assert outbox.counts.refused == 0
    with IngestServer(store) as server:
        uplink = Uplink([("127.0.0.1", server.port)], outbox)
        uplink.start()
        uplink.stop(_PATIENCE_S)
    assert (len(outbox), total_uj(store)) == (0, node.measured_uj)
    outbox.close()
    store.close()
