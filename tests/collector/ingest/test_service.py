"""Over the wire: what is good is acknowledged once durable, what is bad is refused and harms nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, cast

import grpc
import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.service import IngestService
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import Commit
from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from joulebook.v1.naming import layout_hash
from tests.simulated.delivery import books_of, total_uj
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.server import IngestServer

Request = ingest_pb2.StreamReportsRequest
OK = grpc.StatusCode.OK.value[0]


@pytest.fixture
def server() -> Iterator[IngestServer]:
    """Serve an empty store."""
    store = DuckDBStore(":memory:")
    with IngestServer(store) as running:
        yield running
    store.close()


def _stream(server: IngestServer, requests: Iterable[Request]) -> list[Any]:
    """Return what was answered: acknowledgements and asked for Layouts."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        responses = IngestServiceStub(channel).StreamReports(iter(requests), timeout=300)
        return [answer for r in responses for answer in (*r.layouts_wanted, *r.acks)]


def _node(name: str = "n1", reports: int = 1) -> tuple[SimulatedNode, bytes, list[report_pb2.Report]]:
    node = SimulatedNode(name=name)
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    sent = []
    for _ in range(reports):
        node.tick()
        node.tick()
        sent.append(node.report())
    return node, node.layouts[sent[0].layout_hash], sent


def test_reports_are_acknowledged_once_durable(server: IngestServer) -> None:
    """Every Report gets an OK, and what was acknowledged is in the store, exactly."""
    node, layout, reports = _node(reports=5)
    answers = _stream(
        server, [Request(layouts=[layout]), *(Request(reports=[r.SerializeToString()]) for r in reports)]
    )
    assert [(a.sequence, a.code) for a in answers] == [(r.sequence, OK) for r in reports]
    assert total_uj(server.store) == node.measured_uj


def test_a_request_holds_any_number(server: IngestServer) -> None:
    """Layouts and Reports of one request are all taken, whichever nodes they are of, each with its answer."""
    one, layout, reports = _node("n1", reports=4)
    other, other_layout, other_reports = _node("n2", reports=3)
    sent = [r.SerializeToString() for r in (*reports, *other_reports)]
    answers = _stream(server, [Request(layouts=[layout, other_layout], reports=sent)])
    assert [a.code for a in answers] == [OK] * 7
    assert total_uj(server.store) == one.measured_uj + other.measured_uj


def test_a_report_delivered_five_times_is_booked_once(server: IngestServer) -> None:
    """Repetitions, within a stream and over several, are acknowledged and change nothing."""
    node, layout, (report,) = _node()
    requests = [Request(layouts=[layout]), *[Request(reports=[report.SerializeToString()])] * 3]
    answers = _stream(server, requests) + _stream(server, requests[:3])
    assert [a.code for a in answers] == [OK] * 5
    assert sorted(a.duplicate for a in answers) == [False, True, True, True, True]
    assert total_uj(server.store) == node.measured_uj


def test_an_unknown_layout_is_asked_for(server: IngestServer) -> None:
    """A Report whose layout the collector does not know is answered by asking for it, by its hash."""
    node, layout, (report,) = _node()
    (answer,) = _stream(server, [Request(reports=[report.SerializeToString()])])
    assert answer == ingest_pb2.LayoutWanted(
        layout_hash=report.layout_hash, boot=report.boot, sequence=report.sequence
    )
    (answer,) = _stream(server, [Request(layouts=[layout]), Request(reports=[report.SerializeToString()])])
    assert answer.code == OK
    assert total_uj(server.store) == node.measured_uj


def test_bad_reports_harm_neither_their_stream_nor_other_nodes(server: IngestServer) -> None:
    """Malformed and absurd Reports are refused one by one; good ones around them are booked as if alone."""
    node, layout, (first, second) = _node(reports=2)
    negative = report_pb2.Report()
    negative.CopyFrom(second)
    negative.values[1] = -7
    oversized = report_pb2.Report()
    oversized.CopyFrom(second)
    oversized.values.extend([1] * 2_000_000)
    nobody = report_pb2.Report()
    bad_layout = report_pb2.Layout.FromString(layout)
    bad_layout.domains[0].name = "fan.7"
    other, other_layout, (other_report,) = _node("n2")
    answers = _stream(
        server,
        [
            Request(layouts=[layout]),
            Request(layouts=[b"\xff\xff"]),
            Request(reports=[first.SerializeToString()]),
            Request(reports=[negative.SerializeToString()]),
            Request(reports=[oversized.SerializeToString()]),
            Request(reports=[nobody.SerializeToString()]),
            Request(),
            Request(reports=[b"\xff\xff"]),
            Request(reports=[second.SerializeToString()]),
            Request(layouts=[other_layout]),
            Request(reports=[other_report.SerializeToString()]),
        ],
    )
    codes = sorted(a.code for a in answers)
    invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert codes == [OK, OK, OK] + [invalid] * 4
    assert all(a.message for a in answers if a.code == invalid)
    assert server.stats.refused == {"INVALID_ARGUMENT": 4}
    assert total_uj(server.store) == node.measured_uj + other.measured_uj
    assert {n for n, _ in books_of(server.store)} == {"n1", "n2"}


def test_a_refused_layout_is_named_in_the_answer(server: IngestServer) -> None:
    """A Report of a layout that was refused is told why, and is not asked for it again."""
    _, layout, (report,) = _node()
    broken = report_pb2.Layout.FromString(layout)
    broken.domains[0].name = "fan.7"
    report.layout_hash = layout_hash(broken.SerializeToString())
    (answer,) = _stream(
        server, [Request(layouts=[broken.SerializeToString()]), Request(reports=[report.SerializeToString()])]
    )
    assert "fan.7" in answer.message
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_store_that_cannot_write_has_the_report_sent_again(
    server: IngestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is acknowledged that is not stored: the agent is told to come again, and then it works."""
    node, layout, (report,) = _node()
    requests = [Request(layouts=[layout]), Request(reports=[report.SerializeToString()])]
    assert isinstance(server.store, DuckDBStore)
    with monkeypatch.context() as patch:
        patch.setattr(server.store._ids, "insert", _full_disk)
        (answer,) = _stream(server, requests)
        assert answer.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert books_of(server.store) == {}
    (answer,) = _stream(server, requests)
    assert (answer.code, answer.duplicate) == (OK, False)
    assert total_uj(server.store) == node.measured_uj


def test_a_report_that_breaks_the_ledger_takes_no_other_with_it(
    server: IngestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Report that cannot be booked, by a fault of ours, is refused alone; those beside it are booked."""
    good, good_layout, (good_report,) = _node("good")
    _, bad_layout, (bad_report,) = _node("bad")

    def fragile(readings: Sequence[Readings], policy: Policy) -> Books:
        if any(r.layout.node == "bad" for r in readings):
            raise ZeroDivisionError
        return book(readings, policy)

    monkeypatch.setattr("joulebook.collector.ingest.committer.book", fragile)
    answers = _stream(
        server,
        [
            Request(layouts=[bad_layout]),
            Request(layouts=[good_layout]),
            Request(reports=[bad_report.SerializeToString()]),
            Request(reports=[good_report.SerializeToString()]),
        ],
    )
    assert sorted(a.code for a in answers) == [OK, grpc.StatusCode.INTERNAL.value[0]]
    assert total_uj(server.store) == good.measured_uj


def test_a_slow_store_holds_agents_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store stands still a stream is read no further than its window: nothing piles up."""
    node, layout, (report,) = _node()
    store, stats = DuckDBStore(":memory:"), IngestStats()
    store_goes_on = threading.Event()
    commit = store.commit

    def slow(what: Commit) -> None:
        store_goes_on.wait()
        commit(what)

    monkeypatch.setattr(store, "commit", slow)
    total, window, taken = 100, 16, 0

    async def requests() -> AsyncIterator[Request]:
        nonlocal taken
        yield Request(layouts=[layout])
        while taken < total:
            taken += 1
            yield Request(reports=[report.SerializeToString()])

    async def stream() -> tuple[int, int]:
        committer = Committer(store, stats, commit_interval_s=0)
        service = IngestService(committer, stats, max_future_s=1e9, window=window)
        committing = asyncio.create_task(committer.run())
        answers = service.StreamReports(requests(), cast(Any, None))
        first = asyncio.ensure_future(anext(answers))
        for _ in range(10 * total):
            await asyncio.sleep(0)
        held_at = taken
        store_goes_on.set()
        answered = len((await first).acks)
        async for response in answers:
            answered += len(response.acks)
        committing.cancel()
        return held_at, answered

    held_at, answered = asyncio.run(stream())
    assert held_at <= window + 1
    assert answered == total
    assert total_uj(store) == node.measured_uj
    store.close()


def _full_disk(_connection: object) -> None:
    raise OSError(28, "No space left on device")
