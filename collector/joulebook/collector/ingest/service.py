"""The gRPC service that agents stream to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from joulebook.collector.ingest.committer import Committer, Outcome
from joulebook.collector.ingest.decode import (
    MAX_REPORT_BYTES,
    decode_report,
)
from joulebook.collector.ingest.layout_checks import check_node
from joulebook.collector.ingest.layouts import Layouts
from joulebook.collector.ingest.owed import Owed
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
        owed = Owed(self._window)
        reader = asyncio.create_task(self._read(request_iterator, owed))
        self._stats.streams += 1
        try:
            while (response := await owed.taken()) is not None:
                yield response
        finally:
            self._stats.streams -= 1
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Request], owed: Owed) -> None:
        met = set[str]()
        try:
            async for request in requests:
                for layout in request.layouts:
                    self._take_layout(layout)
                for report in request.reports:
                    await owed.add()
                    await self._take(report, owed, met)
        finally:
            owed.close()

    def _take_layout(self, serialized: bytes) -> None:
        try:
            self._layouts.add(serialized)
        except RefusalError as refusal:
            # It is answered when a Report names it.
            _log.warning("layout refused: %s", refusal.message)

    async def _take(self, serialized: bytes, owed: Owed, met: set[str]) -> None:
        report = report_pb2.Report()
        try:
            if len(serialized) > MAX_REPORT_BYTES:
                raise invalid(f"report of {len(serialized)} bytes: expected at most {MAX_REPORT_BYTES}")
            try:
                report.MergeFromString(serialized)
            except DecodeError as error:
                raise invalid(f"report: not a joulebook.v1.Report ({error})") from error
            layout = self._layouts.get(report.node, report.layout_hash)
            if layout is None:
                check_node(report.node)
                owed.want(
                    ingest_pb2.LayoutWanted(
                        layout_hash=report.layout_hash, boot=report.boot, sequence=report.sequence
                    )
                )
                return
            decoded = decode_report(
                report, layout, self._wall_clock_ns() // 1000, self._max_future_us, serialized
            )
        except RefusalError as refusal:
            self._stats.refused[refusal.code.name] += 1
            _log.warning("report of %s refused: %s", report.node[:80] or "nobody", refusal.message)
            owed.acknowledge(_ack(report.boot, report.sequence, Outcome(refusal.code, refusal.message)))
            return
        if decoded.node not in met:
            met.add(decoded.node)
            self._committer.meet(decoded.node)
        boot, sequence = decoded.boot, decoded.start_us
        await self._committer.submit(decoded, lambda outcome: owed.acknowledge(_ack(boot, sequence, outcome)))


def _ack(boot: bytes, sequence: int, outcome: Outcome) -> ingest_pb2.Ack:
    return ingest_pb2.Ack(
        boot=boot,
        sequence=sequence,
        code=outcome.code.value[0],
        message=outcome.message,
        duplicate=outcome.duplicate,
    )
