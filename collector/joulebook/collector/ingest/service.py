"""The gRPC service that agents stream to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio

from joulebook.collector.ingest.committer import Committer, Outcome
from joulebook.collector.ingest.decode import (
    MAX_REPORT_BYTES,
    check_node,
    decode_report,
)
from joulebook.collector.ingest.layouts import Layouts
from joulebook.collector.ingest.refusal import RefusalError, invalid
from joulebook.collector.ingest.stats import IngestStats
from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1.ingest_pb2_grpc import IngestServiceServicer

_log = logging.getLogger(__name__)

Request = ingest_pb2.StreamReportsRequest
Response = ingest_pb2.StreamReportsResponse


class IngestService(IngestServiceServicer):
    """Answers every Report of a stream by an Ack, or by asking for its Layout."""

    def __init__(
        self,
        committer: Committer,
        stats: IngestStats,
        *,
        max_future_s: float = 300.0,
        window: int = 256,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._committer = committer
        self._stats = stats
        self._max_future_us = int(max_future_s * 1e6)
        self._layouts = Layouts()
        self._window = window
        self._wall_clock_ns = wall_clock_ns

    async def StreamReports(  # noqa: N802  the contract's name
        self,
        request_iterator: AsyncIterator[Request],
        context: grpc.aio.ServicerContext[Request, Response],
    ) -> AsyncIterator[Response]:
        """Take Reports until the agent ends the stream; what it sent by then is still answered."""
        del context
        answers: asyncio.Queue[Response | None] = asyncio.Queue()
        # No stream may fill memory with answers that it does not read.
        room = asyncio.Semaphore(self._window)
        reader = asyncio.create_task(self._read(request_iterator, answers, room))
        self._stats.streams += 1
        try:
            while (answer := await answers.get()) is not None:
                yield answer
                room.release()
        finally:
            self._stats.streams -= 1
            reader.cancel()

    async def _read(
        self,
        requests: AsyncIterator[Request],
        answers: asyncio.Queue[Response | None],
        room: asyncio.Semaphore,
    ) -> None:
        waiting = 0
        finished = asyncio.Event()

        def answered(response: Response) -> None:
            nonlocal waiting
            waiting -= 1
            answers.put_nowait(response)
            if not waiting:
                finished.set()

        try:
            async for request in requests:
                if request.WhichOneof("message") == "layout":
                    self._take_layout(request.layout)
                    continue
                await room.acquire()
                waiting += 1
                finished.clear()
                await self._take(request, answered)
            if waiting:
                await finished.wait()
        finally:
            answers.put_nowait(None)

    def _take_layout(self, serialized: bytes) -> None:
        try:
            self._layouts.add(serialized)
        except RefusalError as refusal:
            # It is answered when a Report names it.
            _log.warning("layout refused: %s", refusal.message)

    async def _take(self, request: Request, answered: Callable[[Response], None]) -> None:
        report = request.report
        try:
            if request.WhichOneof("message") is None:
                raise invalid("request: neither a layout nor a report")
            if (size := request.ByteSize()) > MAX_REPORT_BYTES:
                raise invalid(f"report of {size} bytes: expected at most {MAX_REPORT_BYTES}")
            check_node(report.node)
            layout = self._layouts.get(report.node, report.layout_hash)
            if layout is None:
                wanted = ingest_pb2.LayoutWanted(
                    layout_hash=report.layout_hash, boot=report.boot, sequence=report.sequence
                )
                answered(Response(layout_wanted=wanted))
                return
            decoded = decode_report(report, layout, self._wall_clock_ns() // 1000, self._max_future_us)
        except RefusalError as refusal:
            self._stats.refused[refusal.code.name] += 1
            _log.warning("report of %s refused: %s", report.node[:80] or "nobody", refusal.message)
            answered(_ack(report, Outcome(refusal.code, refusal.message)))
            return
        await self._committer.submit(decoded, lambda outcome: answered(_ack(report, outcome)))


def _ack(report: report_pb2.Report, outcome: Outcome) -> Response:
    code: int = outcome.code.value[0]
    return Response(
        ack=ingest_pb2.Ack(
            boot=report.boot,
            sequence=report.sequence,
            code=code,
            message=outcome.message,
            duplicate=outcome.duplicate,
        )
    )
