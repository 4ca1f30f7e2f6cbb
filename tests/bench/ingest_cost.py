"""What the collector costs for a cluster: ingest, ledger and the embedded store together."""

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from joulebook.v1 import ingest_pb2, report_pb2
from joulebook.v1.naming import layout_hash
from tests.bench.processes import free_port, joulebook, running
from tests.bench.rows import Row, process_cpu_ns, pss_kib, row
from tests.simulated.node import Load, SimulatedNode

Request = ingest_pb2.StreamReportsRequest
Response = ingest_pb2.StreamReportsResponse

METHOD = "/joulebook.v1.IngestService/StreamReports"
_NODES = (100, 2_000, 16_000)
_CHANNELS = 40
# As many a second open their streams.
_COMING = 400
_ROUNDS = 3
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
        # How long it takes until all are there, whole Reports long.
        self.ramp_s = _REPORT_S * -(-nodes // (_REPORT_S * _COMING))
        self.sent = 0
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
                METHOD,
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
            self._reports.append(nameless(self._template.report()))
            await asyncio.sleep(_REPORT_S)

    async def _agent(
        self, number: int, method: "grpc.aio.StreamStreamMultiCallable[Any, Response]", stop: asyncio.Event
    ) -> None:
        layout = self._layouts[number]
        own = name(f"n{number}", layout)
        # Agents come one after another, as their own jitter has them do.
        await asyncio.sleep(self.ramp_s * number / self._nodes)
        call = method()
        reader = asyncio.create_task(self._read(call))
        await call.write(Request(layouts=[layout]).SerializeToString())
        following = len(self._reports) - 1
        while not stop.is_set():
            if following < len(self._reports):
                await call.write(request(self._reports[following], own))
                self.sent += 1
                following += 1
            await asyncio.sleep(_REPORT_S)
        await call.done_writing()
        await reader

    async def _read(self, call: "grpc.aio.StreamStreamCall[bytes, Response]") -> None:
        async for response in call:
            taken = sum(ack.code == 0 for ack in response.acks)
            self.acknowledged += taken
            self.refused += len(response.acks) - taken + len(response.layouts_wanted)


def nameless(report: report_pb2.Report) -> bytes:
    """Return what a Report has in common with those of nodes that live through the same."""
    report.ClearField("node")
    report.ClearField("layout_hash")
    return report.SerializeToString()


def name(node: str, layout: bytes) -> bytes:
    """Return what a Report of a node has for itself."""
    return report_pb2.Report(node=node, layout_hash=layout_hash(layout)).SerializeToString()


def request(common: bytes, own: bytes) -> bytes:
    """Return a request with a Report in its two parts: the fields of a message may come in any order."""
    length = len(common) + len(own)
    tag = [Request.REPORTS_FIELD_NUMBER << 3 | 2]
    while length > 0x7F:
        tag.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*tag, length]) + common + own


@dataclass(frozen=True, slots=True)
class _Load:
    """What a collector took for a cluster: cores, MiB, samples acknowledged a second, bytes a sample."""

    cores: float
    memory_mib: float
    samples_a_second: float
    stored_bytes: float
    series: int


def measure() -> list[Row]:
    """Return what the collector takes for clusters of several sizes, at a Report of 10 s each."""
    small, middle, large = (_load(nodes) for nodes in _NODES)
    said = f"nodes × {middle.series} series × 1 Hz in {_REPORT_S} s Reports"
    return [
        row(f"collector CPU, {_NODES[1]:,} {said}", "cores", middle.cores, target=0.5),
        row("durable samples, ledger included, at that load", "samples/s", middle.samples_a_second),
        row(
            "durable samples a second of collector CPU, at that load",
            "samples/s",
            middle.samples_a_second / middle.cores,
        ),
        row("collector PSS at that load", "MiB", middle.memory_mib),
        row("store a sample, readings and books", "bytes", middle.stored_bytes),
        row(f"collector CPU, {_NODES[2]:,} {said}", "cores", large.cores, target=1.0),
        row("collector PSS at that load", "MiB", large.memory_mib, target=1024),
        row("durable samples, ledger included, at that load", "samples/s", large.samples_a_second),
        row(
            f"collector CPU a node, {_NODES[2]:,} nodes",
            "µs/s",
            large.cores / _NODES[2] * 1e6,
            peer=f"{_NODES[0]} nodes",
            peer_value=small.cores / _NODES[0] * 1e6,
            target=1.2,
            of_ratio=True,
        ),
    ]


def _load(nodes: int) -> _Load:
    http, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        books = Path(directory) / "bench.duckdb"
        command = joulebook(
            "collector", f"--http=127.0.0.1:{http}", f"--grpc=127.0.0.1:{port}", f"--store={books}"
        )
        with running(command, port) as collector:
            agents = _Agents(port, nodes)
            shares, acknowledged, seconds = asyncio.run(_drive(agents, collector))
            cores = statistics.median(shares)
            memory_mib = pss_kib(collector) / 1024
        # The collector has ended and written everything out.
        stored = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    if agents.refused or agents.acknowledged != agents.sent:
        raise RuntimeError(
            f"of {agents.sent} reports {agents.acknowledged} were acknowledged, {agents.refused} refused"
        )
    samples_a_report = agents.series * _REPORT_S
    rate = acknowledged * samples_a_report / seconds
    bytes_ = stored / agents.acknowledged / samples_a_report
    return _Load(cores, memory_mib, rate, bytes_, agents.series)


async def _drive(agents: _Agents, collector: int) -> tuple[list[float], int, float]:
    """Stream for some rounds; return CPU shares, acknowledged Reports and seconds of the counted ones."""
    stop = asyncio.Event()
    streaming = asyncio.create_task(agents.run(stop))
    # The first rounds open streams and store layouts: they are not counted.
    await asyncio.sleep(agents.ramp_s + _REPORT_S)
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
