"""What a sample costs at full speed: ours with the ledger and delivery, and two databases without either."""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc.aio

from joulebook.collector.ingest.decode import decode_layout, decode_report
from joulebook.collector.store.influxdb_lines import SampleLines, requests
from joulebook.v1 import ingest_pb2, report_pb2
from tests.bench.ingest_cost import METHOD, cluster_node, name, nameless, request
from tests.bench.processes import free_port, joulebook, running
from tests.bench.rows import Row, process_cpu_ns, rounds, row
from tests.servers.influxdb import influxdb
from tests.servers.victoriametrics import victoria_metrics

_NODES, _REPORTS, _TICKS = 200, 50, 10
_CHANNELS, _WINDOW = 10, 64
_ROUNDS = 5
# How long a database works on after its last answer.
_SETTLE_S = 3.0


class _History:
    """Reports of some nodes that live through the same minutes, in time before now."""

    def __init__(self) -> None:
        template = cluster_node("n0")
        template.wall_us -= (1 + _ROUNDS) * (_REPORTS + 1) * _TICKS * 1_000_000
        message = report_pb2.Layout.FromString(next(iter(template.layouts.values())))
        self.series = len(message.series_metric)
        self.layouts = []
        for i in range(_NODES):
            message.node = f"n{i}"
            self.layouts.append(message.SerializeToString())
        self._template = template

    @property
    def samples(self) -> int:
        """Return how many samples next() holds."""
        return _NODES * _REPORTS * _TICKS * self.series

    def next(self) -> list[report_pb2.Report]:
        """Return the following minutes, in nobody's name."""
        reports = []
        for _ in range(_REPORTS):
            for _ in range(_TICKS):
                self._template.tick()
            reports.append(self._template.report())
        return reports


def measure() -> list[Row]:
    """Return samples a second of CPU, side by side."""
    http_port, port = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as directory,
        running(
            joulebook(
                "collector",
                f"--http=127.0.0.1:{http_port}",
                f"--grpc=127.0.0.1:{port}",
                f"--store={directory}/books.duckdb",
            ),
            port,
        ) as pid,
        victoria_metrics(Path(directory) / "victoria") as victoria,
        influxdb(Path(directory) / "influxdb") as influx,
    ):
        database = influx.fresh().rpartition("/")[2]
        history = _History()

        def one_round() -> list[float]:
            reports = history.next()
            bodies = list(_lines(history, reports))
            commons = [nameless(report) for report in reports]
            return [
                _rate(pid, history, lambda: asyncio.run(_stream(port, history.layouts, commons))),
                _rate(victoria.pid, history, lambda: _post(victoria.port, "/write?precision=us", bodies)),
                _rate(
                    influx.pid,
                    history,
                    lambda: _post(influx.port, f"/write?db={database}&precision=us", bodies),
                ),
            ]

        one_round()
        rate, victoria_rate, influxdb_rate = rounds(_ROUNDS, one_round)
    figure = "samples a second of CPU at full speed, durable and booked, exactly once"
    return [
        row(
            figure,
            "samples/s",
            rate,
            peer="VictoriaMetrics 1.79, line protocol, no books",
            peer_value=victoria_rate,
            target=2.0,
            of_ratio=True,
            at_least=True,
        ),
        row(
            figure,
            "samples/s",
            rate,
            peer="InfluxDB 1.6, line protocol, no books",
            peer_value=influxdb_rate,
            target=3.0,
            of_ratio=True,
            at_least=True,
        ),
    ]


async def _stream(port: int, layouts: list[bytes], commons: list[bytes]) -> None:
    """Send every node's Reports as fast as they are acknowledged."""
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(_CHANNELS)
    ]
    calls = [
        channel.stream_stream(
            METHOD,
            request_serializer=bytes,
            response_deserializer=ingest_pb2.StreamReportsResponse.FromString,
        )
        for channel in channels
    ]

    async def agent(number: int, layout: bytes) -> None:
        call = calls[number % _CHANNELS]()
        own = name(f"n{number}", layout)
        requests = [request(common, own) for common in commons]
        # As an agent sends what waits: all that its window has room for in one message.
        await call.write(ingest_pb2.StreamReportsRequest(layouts=[layout]).SerializeToString())
        sent, acknowledged = 0, 0
        while acknowledged < len(requests):
            if together := requests[sent : acknowledged + _WINDOW]:
                await call.write(b"".join(together))
                sent += len(together)
            response = await call.read()
            if not isinstance(response, ingest_pb2.StreamReportsResponse):
                raise RuntimeError("the collector ended the stream")
            if wrong := [ack.message for ack in response.acks if ack.code]:
                raise RuntimeError(wrong[0])
            acknowledged += len(response.acks)
        await call.done_writing()

    await asyncio.gather(*(agent(i, layout) for i, layout in enumerate(layouts)))
    for channel in channels:
        await channel.close()


def _rate(pid: int, history: _History, send: Callable[[], None]) -> float:
    """Return samples a second of a server's CPU; what it does right after its last answer counts."""
    before = process_cpu_ns(pid)
    send()
    time.sleep(_SETTLE_S)
    return history.samples / ((process_cpu_ns(pid) - before) / 1e9)


def _lines(history: _History, reports: list[report_pb2.Report]) -> Iterator[bytes]:
    """Return the same samples as line protocol, a line a subject and tick."""
    for serialized in history.layouts:
        layout = decode_layout(serialized)
        template = SampleLines(layout)
        decoded = [decode_report(report, layout, time.time_ns() // 1000, 10**13) for report in reports]
        yield from requests(piece for one in decoded for piece in template.of(one))


def _post(port: int, path: str, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for body in bodies:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status}")
    connection.close()
