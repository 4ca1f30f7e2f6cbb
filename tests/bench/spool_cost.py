"""What the spool costs: a put, a byte on disk, a Report sent again, memory with a day's backlog."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.spool import Spool
from joulebook.collector.store.duckdb import DuckDBStore
from tests.bench.rows import Row, row
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.server import IngestServer

_WORKLOADS = 20
_REPORTS = 8640
_PUTS = 2000


def _entries(count: int) -> list[Entry]:
    node = SimulatedNode()
    node.begin(
        [
            Load(f"slurm.{i}", cpu_us=40_000 + i, memory_bytes=1 << 30, io_bytes=4096)
            for i in range(_WORKLOADS)
        ]
    )
    entries = []
    for _ in range(count):
        for _ in range(10):
            node.tick()
        report = node.report()
        entries.append(Entry(report, node.layouts[report.layout_hash]))
    return entries


def _rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def _put_us(directory: Path, *, fsync_us: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of a put while no collector answers, in µs."""
    entries = _entries(_PUTS)
    spool = Spool(directory, fsync_us=fsync_us)
    spool.start()
    took = []
    for entry in entries:
        begin = time.perf_counter_ns()
        spool.put(entry)
        took.append(time.perf_counter_ns() - begin)
        time.sleep(0.001)
    spool.close()
    took.sort()
    return took[len(took) // 2] / 1000, took[len(took) * 99 // 100] / 1000


def _backlog() -> None:
    """Put a day of Reports in and print how much memory that took; run in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        spool = Spool(Path(name))
        (first, *_) = _entries(1)
        node_report, layout = first.report, first.layout
        spool.put(first)
        before = _rss_kib()
        for _ in range(_REPORTS):
            node_report.sequence += 10_000_000
            spool.put(Entry(node_report, layout))
        print(json.dumps({"kib": _rss_kib() - before, "bytes": spool.size_bytes() / _REPORTS}))
        spool.close()


def measure() -> list[Row]:
    """Return the spool's costs, on the file system of the directory for temporary files."""
    with tempfile.TemporaryDirectory() as name:
        median_us, late_us = _put_us(Path(name) / "seldom", fsync_us=5_000_000)
        synced_us, synced_late_us = _put_us(Path(name) / "always", fsync_us=0)
        told = subprocess.run(
            [sys.executable, "-m", "tests.bench.spool_cost"], capture_output=True, check=True, text=True
        )
        found = json.loads(told.stdout)
        spool = Spool(Path(name) / "replay")
        for entry in _entries(_PUTS):
            spool.put(entry)
        replay_per_s = _replay_per_s(spool)
        spool.close()
    return [
        row("spool: a put, no collector", "µs", median_us, target=100.0),
        row("spool: a put, 99th percentile", "µs", late_us),
        row("spool: a put beside a sync of every Report", "µs", synced_us),
        row("spool: the same, 99th percentile", "µs", synced_late_us),
        row(f"spool: a Report of {_WORKLOADS} workloads on disk", "bytes", found["bytes"]),
        row("spool: memory for a day of 10 s Reports that wait", "KiB", found["kib"], target=1024.0),
        row("spool: replay, unpaced, collector and DuckDB on the same 2 cores", "reports/s", replay_per_s),
    ]


def _replay_per_s(spool: Spool) -> float:
    from joulebook.agent.uplink import Uplink  # noqa: PLC0415  the backlog's memory is taken without gRPC

    store = DuckDBStore(":memory:")
    with IngestServer(store) as server:
        uplink = Uplink([("127.0.0.1", server.port)], spool, replay_per_s=1e6)
        begin = time.perf_counter()
        uplink.start()
        uplink.stop(120)
        took_s = time.perf_counter() - begin
    store.close()
    return _PUTS / took_s


if __name__ == "__main__":
    _backlog()
