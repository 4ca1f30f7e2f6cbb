"""What goes to a collector together."""

import asyncio
from collections import deque

import pytest

from joulebook.agent import stream
from joulebook.agent.outbox import Entry
from joulebook.agent.pace import Pace
from joulebook.agent.spool.spool import Spool
from joulebook.agent.stream import WINDOW, Request, Response, Session
from joulebook.v1 import ingest_pb2, report_pb2
from tests.simulated.node import Load, SimulatedNode


class _Collector:
    """Takes messages, and acknowledges what each held at once; it knows no Layout that it was not sent."""

    def __init__(self) -> None:
        self.messages: list[Request] = []
        self._layouts: set[int] = set()
        self._answers: deque[Response | None] = deque()
        self._answered = asyncio.Event()

    async def send_request(self) -> None:
        """Begin."""

    async def send_message(self, message: Request) -> None:
        """Take a message."""
        self.messages.append(message)
        response = Response()
        for serialized in message.reports:
            report = report_pb2.Report.FromString(serialized)
            response.acks.append(ingest_pb2.Ack(boot=report.boot, sequence=report.sequence))
        self._answers.append(response)
        self._answered.set()

    async def recv_message(self) -> Response | None:
        """Return the next answer."""
        while not self._answers:
            self._answered.clear()
            await self._answered.wait()
        return self._answers.popleft()

    async def end(self) -> None:
        """Send no more."""
        self._answers.append(None)
        self._answered.set()


def _messages(reports: int) -> list[Request]:
    """Return the messages that as many waiting Reports make."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    outbox = Spool(None, memory_reports=reports)
    for _ in range(reports):
        node.tick()
        report = node.report()
        outbox.put(Entry(report, node.layouts[report.layout_hash]))
    collector = _Collector()
    session = Session(outbox, Pace(1e9, WINDOW), lambda: not len(outbox))
    asyncio.run(session.run(collector))
    assert session.taken == reports
    return collector.messages


def test_what_waits_goes_together() -> None:
    """Waiting Reports share a message, as many as the window has room for; their Layout goes along once."""
    messages = _messages(3 * WINDOW)
    assert len(messages) < 12
    assert max(len(m.reports) for m in messages) <= WINDOW
    assert [len(m.layouts) for m in messages] == [1] + [0] * (len(messages) - 1)


def test_a_message_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that do not fit into a message go in the next one, each once; one alone always fits."""
    monkeypatch.setattr(stream, "_MESSAGE_BYTES", 1)
    messages = _messages(20)
    assert [len(m.reports) for m in messages] == [1] * 20
    sequences = [report_pb2.Report.FromString(m.reports[0]).sequence for m in messages]
    assert sorted(sequences) == sorted(set(sequences))
