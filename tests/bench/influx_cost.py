"""What a cluster's readings and books cost on their way into a real InfluxDB: ours and the server's apart."""

import tempfile
import time
from pathlib import Path

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.figures import table_of
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import Commit
from joulebook.v1 import report_pb2
from tests.bench.ingest_cost import cluster_node
from tests.bench.rows import Row, process_cpu_ns, rounds, row
from tests.servers.influxdb import influxdb

_NODES = 500
_TICKS = 10
_ROUNDS = 5


class _Cluster:
    """Nodes that live through the same ten seconds under names of their own."""

    def __init__(self) -> None:
        self._template = cluster_node("n0")
        layout = report_pb2.Layout.FromString(next(iter(self._template.layouts.values())))
        self._layouts = []
        for i in range(_NODES):
            layout.node = f"n{i}"
            self._layouts.append(decode_layout(layout.SerializeToString()))

    def reports(self) -> list[Decoded]:
        """Return the next Report of every node."""
        for _ in range(_TICKS):
            self._template.tick()
        report = self._template.report()
        ahead_us = 10**12
        return [decode_report(report, layout, time.time_ns() // 1000, ahead_us) for layout in self._layouts]


def measure() -> list[Row]:
    """Return fields stored a second, and the CPU that each costs us and the server."""
    nodes = _Cluster()
    with tempfile.TemporaryDirectory() as directory, influxdb(Path(directory)) as server:
        store = InfluxStore(server.fresh(), compress=False)
        # The first Reports make layouts, jobs and the server's series: they are not counted.
        Committer(store, IngestStats()).apply(nodes.reports())

        def one_round() -> list[float]:
            reports = nodes.reports()
            commit = Commit(reports, book([d.readings for d in reports]))
            fields = _fields(commit)
            ours, theirs, began = time.process_time_ns(), process_cpu_ns(server.pid), time.monotonic()
            store.commit(commit)
            seconds = time.monotonic() - began
            spent = (time.process_time_ns() - ours, process_cpu_ns(server.pid) - theirs)
            return [fields / seconds, *(ns / 1000 / fields for ns in spent)]

        rate, ours_us, theirs_us = rounds(_ROUNDS, one_round)
        store.close()
    return [
        row(
            f"InfluxDB: fields stored, {_NODES} nodes, readings and books",
            "fields/s",
            rate,
            target=300_000,
            at_least=True,
        ),
        row(
            "InfluxDB: our CPU a field", "µs", ours_us, peer="the server's CPU a field", peer_value=theirs_us
        ),
    ]


def _fields(commit: Commit) -> int:
    """Return how many fields a commit writes: readings with their lengths, books and marks."""
    readings = sum((len(d.readings.layout.series) + 1) * _TICKS for d in commit.reports)
    books = commit.books
    booked = int((table_of(books) != 0).sum()) + 4 * len(books.account)
    return readings + booked + 10 * len(commit.reports)
