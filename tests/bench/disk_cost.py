"""What a sample takes on disk: fresh, settled, in an archive; and in VictoriaMetrics, fed with the same."""

from __future__ import annotations

import http.client
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

from joulebook.collector.archive.archive import archive
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.influxdb_lines import SampleLines, requests
from joulebook.collector.store.protocol import Range
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.bench.ingest_cost import cluster_node
from tests.bench.rows import Row, row
from tests.servers.victoriametrics import victoria_metrics

_NODES, _REPORTS, _TICKS = 10, 360, 10
_EVER = Range(0, 1 << 62)


def measure() -> list[Row]:
    """Return bytes a sample, of meters that are noisy."""
    batches = list(_batches())
    samples = sum(d.readings.values[:, 1:].size for batch in batches for d in batch)
    with tempfile.TemporaryDirectory() as name, victoria_metrics(Path(name) / "victoria") as victoria:
        _feed(victoria.port, batches)
        urllib.request.urlopen(f"http://127.0.0.1:{victoria.port}/internal/force_flush").read()
        urllib.request.urlopen(f"http://127.0.0.1:{victoria.port}/internal/force_merge").read()
        time.sleep(5)
        peer = _bytes(Path(name) / "victoria" / "data") / samples
        path = Path(name) / "books.duckdb"
        store = DuckDBStore(path)
        committer = Committer(store, IngestStats())
        for batch in batches:
            committer.apply(batch)
        store.checkpoint()
        ((report_bytes,),) = store._rows("SELECT sum(octet_length(report)) FROM intervals")
        fresh = path.stat().st_size / samples
        for _ in Keeper(store).steps(1 << 52):
            pass
        ((settled, minutes),) = store._rows(
            "SELECT sum(raw_bytes) / sum(samples), sum(minutes_bytes) / sum(samples) FROM blocks"
        )
        archive(store, _EVER, Path(name) / "archive")
        archived = _bytes(Path(name) / "archive" / "readings") / samples
        store.close()

    def beside(what: str, ours: float, target: float) -> Row:
        peer_name = "VictoriaMetrics 1.79, no books"
        return row(what, "bytes", ours, peer=peer_name, peer_value=peer, target=target, of_ratio=True)

    return [
        beside("a fresh sample, readings and books", fresh, 1.0),
        row("a fresh sample before it is compressed", "bytes", report_bytes / samples),
        beside("a settled sample", settled, 0.55),
        row("series by minute beside it", "bytes", minutes),
        beside("a sample in an archive for others", archived, 0.55),
    ]


def _batches() -> list[list[Decoded]]:
    """Return an hour of nodes whose energy, CPU time and memory are noisy, Report by Report."""
    rng = np.random.default_rng(7)
    template = cluster_node("n0")
    template.wall_us -= 2 * 3_600_000_000
    template.wall_us -= template.wall_us % 3_600_000_000
    message = report_pb2.Layout.FromString(next(iter(template.layouts.values())))
    layouts = []
    for i in range(_NODES):
        message.node = f"n{i}"
        layouts.append(message.SerializeToString())
    decoded = [decode_layout(layout) for layout in layouts]
    batches = []
    for _ in range(_REPORTS):
        for _ in range(_TICKS):
            template.tick()
        common = template.report()
        batch = []
        for i, layout in enumerate(layouts):
            report = report_pb2.Report()
            report.CopyFrom(common)
            report.node, report.layout_hash = f"n{i}", layout_hash(layout)
            values = np.array(common.values, dtype=np.int64).reshape(-1, _TICKS + 1)
            change = values[:, 1:]
            # As real meters: some percent of what is counted.
            change += (change * rng.normal(0, 0.03, change.shape)).astype(np.int64)
            del report.values[:]
            report.values.extend(values.ravel().tolist())
            batch.append(decode_report(report, decoded[i], 1 << 52, 0))
        batches.append(batch)
    return batches


def _feed(port: int, batches: list[list[Decoded]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    lines = {d.node: SampleLines(d.readings.layout) for d in batches[0]}
    for body in requests(piece for batch in batches for d in batch for piece in lines[d.node].of(d)):
        connection.request("POST", "/write?precision=us", body)
        connection.getresponse().read()
    connection.close()


def _bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
