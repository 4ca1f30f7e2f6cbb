"""A node's Reports, sent to a collector that may die or have no room, until all are acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import grpc

from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from tests.simulated.node import Load, SimulatedNode

_PATIENCE_S = 300.0
Request = ingest_pb2.StreamReportsRequest


class Sender:
    """What an agent does, in short: it keeps what is not acknowledged, and sends it again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.node = SimulatedNode()
        self.node.begin([Load(f"slurm.{n}", cpu_us=1_000_000 // n) for n in range(1, 30)])
        self.waiting: dict[int, report_pb2.Report] = {}
        self.acknowledged: set[int] = set()
        # What else was answered, by the name of the status.
        self.refused: list[str] = []

    def measure(self, reports: int) -> None:
        """Make Reports of ten ticks each."""
        for _ in range(reports):
            for _ in range(10):
                self.node.tick()
            report = self.node.report()
            self.waiting[report.sequence] = report

    def _requests(self) -> Iterator[Request]:
        yield from (Request(layouts=[serialized]) for serialized in self.node.layouts.values())
        yield from (Request(reports=[report.SerializeToString()]) for report in list(self.waiting.values()))

    def send(self) -> int:
        """Send all that waits once; return how many were acknowledged before the stream ended or broke."""
        before = len(self.acknowledged)
        with suppress(grpc.RpcError), grpc.insecure_channel(self._address) as channel:
            for answer in IngestServiceStub(channel).StreamReports(self._requests()):
                for ack in answer.acks:
                    self._take(ack)
        return len(self.acknowledged) - before

    def _take(self, ack: ingest_pb2.Ack) -> None:
        if ack.code == 0:
            self.acknowledged.add(ack.sequence)
            self.waiting.pop(ack.sequence, None)
        else:
            self.refused.append(next(c.name for c in grpc.StatusCode if c.value[0] == ack.code))

    def send_all(self) -> None:
        """Send until nothing waits."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.waiting:
            if not self.send():
                time.sleep(0.05)
            assert time.monotonic() < deadline_s, f"{len(self.waiting)} still wait, {self.refused[-3:]}"
