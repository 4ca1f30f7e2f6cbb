"""What a sample takes on disk: fresh, settled, in an archive; and in VictoriaMetrics, fed with the same.

`python -m tests.bench.disk_cost STORE` takes the Reports of an embedded store that no collector has open.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulebook.collector.archive.archive import archive
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.influxdb_lines import SampleLines, requests
from joulebook.collector.store.protocol import Range
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.bench.ingest_cost import cluster_node
from tests.bench.rows import Row, row, write
from tests.servers.victoriametrics import victoria_metrics

_NODES, _REPORTS, _TICKS = 10, 360, 10
_EVER = Range(0, 1 << 62)


def measure() -> list[Row]:
    """Return bytes a sample, of meters that are noisy."""
    batches = list(_batches())
    return [
        *_beside(batches, "noisy meters"),
        row(
            "noisy meters: the entropy of the noise, which no encoding goes below", "bytes", _entropy(batches)
        ),
    ]


def _beside(batches: list[list[Decoded]], data: str) -> list[Row]:
    """Return bytes a sample of Reports, in our store and in the peer's."""
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
        return row(
            f"{data}: {what}", "bytes", ours, peer=peer_name, peer_value=peer, target=target, of_ratio=True
        )

    return [
        beside("a fresh sample, readings and books", fresh, 1.0),
        row(f"{data}: a fresh sample before it is compressed", "bytes", report_bytes / samples),
        beside("a settled sample", settled, 0.55),
        row(f"{data}: series by minute beside it", "bytes", minutes),
        beside("a sample in an archive for others", archived, 0.55),
    ]


def _entropy(batches: list[list[Decoded]]) -> float:
    """Return the bytes a sample that normal noise has, whoever writes it down: log2(σ √2πe) bits."""
    bits, samples = 0.0, 0
    for number in range(len(batches[0])):
        change = np.concatenate([batch[number].readings.values[:, 1:] for batch in batches], axis=1)
        spread = change.std(axis=1)
        of_sample = np.log2(np.maximum(spread, 1e-9) * np.sqrt(2 * np.pi * np.e))
        bits += float(np.maximum(of_sample, 0).sum()) * change.shape[1]
        samples += change.size
    return bits / 8 / samples


def recorded(path: str) -> list[Row]:
    """Return bytes a sample of the Reports that a store holds, such as a real agent's."""
    with read_only(path) as connection:
        rows = connection.execute(
            "SELECT serialized, report FROM intervals JOIN layouts USING (layout_id) "
            "WHERE NOT is_gap ORDER BY end_unix_us"
        ).fetchall()
    layouts = {serialized: decode_layout(serialized) for serialized, _ in rows}
    batches = [
        [decode_report(report_pb2.Report.FromString(report), layouts[layout], 1 << 52, 0)]
        for layout, report in rows
    ]
    samples = sum(d.readings.values[:, 1:].size for (d,) in batches)
    return _beside(batches, f"recorded, {samples:,} samples")


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
    ends: dict[int, npt.NDArray[np.int64]] = {}
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
            # Where the Report before ended.
            values[:, 0] = ends.get(i, values[:, 0])
            change = values[:, 1:]
            # As real meters: some percent of what is counted.
            change += (change * rng.normal(0, 0.03, change.shape)).astype(np.int64)
            ends[i] = values.sum(axis=1)
            del report.values[:]
            report.values.extend(values.ravel().tolist())
            batch.append(decode_report(report, decoded[i], 1 << 52, 0))
        batches.append(batch)
    return batches


def _feed(port: int, batches: list[list[Decoded]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    lines = {d.readings.layout.hash: SampleLines(d.readings.layout) for batch in batches for d in batch}
    pieces = (piece for batch in batches for d in batch for piece in lines[d.readings.layout.hash].of(d))
    for body in requests(pieces):
        connection.request("POST", "/write?precision=us", body)
        connection.getresponse().read()
    connection.close()


def _bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


if __name__ == "__main__":
    write("disk", recorded(sys.argv[1]))
