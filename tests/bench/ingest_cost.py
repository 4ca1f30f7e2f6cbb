"""What the collector costs for a cluster: ingest, ledger and the embedded store together."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc.aio

from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1.naming import layout_hash
from tests.bench.processes import free_port, joulebook, running
from tests.bench.rows import Row, process_cpu_ns, pss_kib, rounds, row
from tests.simulated.node import Load, SimulatedNode

Request = ingest_pb2.StreamReportsRequest
Response = ingest_pb2.StreamReportsResponse

_METHOD = "/joulebook.v1.IngestService/StreamReports"
_NODES = 2000
_CHANNELS = 20
_ROUNDS = 5
_REPORT_S = 10


def cluster_node(name: str) -> SimulatedNode:
    """Return a node of 61 series: 4 domains, 10 jobs and 5 services."""
    node = SimulatedNode(
        name=name,
        cpus=64,
        domains=[(d, report_pb2.SOURCE_KIND_COUNTER) for d in ("cpu.0", "cpu.1", "memory.0", "memory.1")],
        wall_us=time.time_ns() // 1000,
    )
    jobs = [Load(f"slurm.{i}", cpu_us=900_000 + 7_000 * i, memory_bytes=i << 30) for i in range(1, 11)]
    services = [
        Load(f"unit.s{i}.service", report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=3_000 * i, memory_bytes=i << 20)
        for i in range(1, 6)
    ]
    node.begin(jobs + services)
    return node


class _Agents:
    """Simulated agents, one stream each, that send a Report every 10 s, evenly spread.

    They all send the same readings, each in its own name: what a message has in common is serialised once, so
    that the agents cost little beside the collector.
    """

    def __init__(self, port: int, nodes: int) -> None:
        self._port = port
        self._nodes = nodes
        self._template = cluster_node("n0")
        layout = report_pb2.Layout.FromString(next(iter(self._template.layouts.values())))
        self.series = len(layout.series_metric)
        self._layouts = []
        for i in range(nodes):
            layout.node = f"n{i}"
            self._layouts.append(layout.SerializeToString())
        self._reports: list[bytes] = []
        self.acknowledged = 0
        self.refused = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Stream until told to stop."""
        target = f"127.0.0.1:{self._port}"
        channels = [
            grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(_CHANNELS)
        ]
        calls = [
            channel.stream_stream(
                _METHOD,
                request_serializer=bytes,
                response_deserializer=Response.FromString,
            )
            for channel in channels
        ]
        reports = asyncio.create_task(self._cut(stop))
        await asyncio.gather(*(self._agent(i, calls[i % _CHANNELS], stop) for i in range(self._nodes)))
        await reports
        for channel in channels:
            await channel.close()

    async def _cut(self, stop: asyncio.Event) -> None:
        """Have the template node live through the same 10 s that all nodes report."""
        while not stop.is_set():
            for _ in range(_REPORT_S):
                self._template.tick()
            report = self._template.report()
            report.ClearField("node")
            report.ClearField("layout_hash")
            self._reports.append(report.SerializeToString())
            await asyncio.sleep(_REPORT_S)

    async def _agent(
        self, number: int, method: "grpc.aio.StreamStreamMultiCallable[Any, Response]", stop: asyncio.Event
    ) -> None:
        layout = self._layouts[number]
        own = report_pb2.Report(node=f"n{number}", layout_hash=layout_hash(layout)).SerializeToString()
        # Agents come one after another, as their own jitter has them do.
        await asyncio.sleep(_REPORT_S * number / self._nodes)
        call = method()
        reader = asyncio.create_task(self._read(call))
        await call.write(Request(layout=layout).SerializeToString())
        sent = 0
        while not stop.is_set():
            if sent < len(self._reports):
                # The fields of a message may come in any order.
                report = self._reports[sent] + own
                await call.write(b"\x12" + _varint(len(report)) + report)
                sent += 1
            await asyncio.sleep(_REPORT_S)
        await call.done_writing()
        await reader

    async def _read(self, call: "grpc.aio.StreamStreamCall[bytes, Response]") -> None:
        async for response in call:
            if response.ack.code == 0 and response.WhichOneof("message") == "ack":
                self.acknowledged += 1
            else:
                self.refused += 1


def _varint(number: int) -> bytes:
    """Return a length as protobuf writes it."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def measure() -> list[Row]:
    """Return the CPU that the collector takes for 2,000 nodes × 61 series × 1 Hz, in cores."""
    http, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        books = Path(directory) / "bench.duckdb"
        command = joulebook(
            "collector", f"--http=127.0.0.1:{http}", f"--grpc=127.0.0.1:{port}", f"--store={books}"
        )
        with running(command, port) as collector:
            agents = _Agents(port, _NODES)
            shares, acknowledged, seconds = asyncio.run(_drive(agents, collector))
            iterator = iter(shares)
            (cores,) = rounds(_ROUNDS, lambda: [next(iterator)])
            memory_mib = pss_kib(collector) / 1024
        # The collector has ended and written everything into the one file.
        stored = books.stat().st_size
    if agents.refused:
        raise RuntimeError(f"{agents.refused} reports were refused")
    samples_a_report = agents.series * _REPORT_S
    rate = acknowledged * samples_a_report / seconds
    return [
        row(
            f"collector CPU, {_NODES} nodes × {agents.series} series × 1 Hz in {_REPORT_S} s Reports",
            "cores",
            cores,
            target=0.5,
        ),
        row("durable samples, ledger included, at that load", "samples/s", rate),
        row("durable samples a second of collector CPU", "samples/s", rate / cores),
        row("collector PSS at that load", "MiB", memory_mib),
        row("store a sample, readings and books", "bytes", stored / agents.acknowledged / samples_a_report),
    ]


async def _drive(agents: _Agents, collector: int) -> tuple[list[float], int, float]:
    """Stream for some rounds; return CPU shares, acknowledged Reports and seconds of the counted ones."""
    stop = asyncio.Event()
    streaming = asyncio.create_task(agents.run(stop))
    # The first rounds open 2,000 streams and store 2,000 layouts: they are not counted.
    await asyncio.sleep(_REPORT_S * 2)
    acknowledged = agents.acknowledged
    shares = []
    began = time.monotonic()
    for _ in range(_ROUNDS):
        before, at = process_cpu_ns(collector), time.monotonic()
        await asyncio.sleep(_REPORT_S)
        shares.append((process_cpu_ns(collector) - before) / 1e9 / (time.monotonic() - at))
    seconds = time.monotonic() - began
    acknowledged = agents.acknowledged - acknowledged
    stop.set()
    await streaming
    return shares, acknowledged, seconds
