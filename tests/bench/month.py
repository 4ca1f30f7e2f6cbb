"""A store of 1,000 nodes and 30 days: the month is written in bulk, its last minutes are booked."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.duckdb.migrations.steps import released
from joulebook.collector.store.duckdb.staging import insert
from joulebook.v1 import report_pb2
from tests.bench import month_sql
from tests.bench.rows import Row
from tests.simulated.node import Load, SimulatedNode

Ints = npt.NDArray[np.int64]
NODES, DAYS = 1_000, 30
# The last minutes are booked Report by Report, by the collector's own code.
_LIVE_MINUTES = 20
HOUR_US, CELL_US, REPORT_US = 3_600_000_000, 600_000_000, 10_000_000
# Jobs of many nodes have half of them, small ones most of the rest; the last nodes are idle.
_WIDE, _BUSY = 512, 950
# Of the month. The last minutes are of another boot: what follows on forgotten Reports would be refused.
_BOOT_BEFORE = bytes(16)
_USERS = ("ada", "bob", "chen", "dora", "eve")


@dataclass(frozen=True, slots=True)
class Month:
    """Where the store is, and what can be asked of it: up to when, and a wide, a long and a short job."""

    path: str
    end_us: int
    series: int
    jobs: int
    wide_job: str
    short_job: str


def measure() -> list[Row]:
    """Make the store, so that questions can be asked of it when the machine is quiet; measure nothing."""
    month()
    return []


def month() -> Month:
    """Return the store, made now if it is not there yet: some minutes, and some GB."""
    # A new version of the tables makes another one.
    directory = Path(f"build/month-{len(released())}")
    told = directory / "month.json"
    if not told.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        made = _make(directory / "books.duckdb")
        told.write_text(json.dumps(asdict(made)))
    return Month(**json.loads(told.read_text()))


def name(node: int) -> str:
    """Return a node's name."""
    return f"n{node:04d}"


@dataclass(frozen=True, slots=True)
class _Placed:
    """Which job had which node, from one cell of 10 minutes to another; jobs are numbered by their start."""

    job: Ints
    node: Ints
    first: Ints
    last: Ints
    # The first beyond the jobs of many nodes.
    wide: int


def _placed(cells: int) -> _Placed:
    rng = Random(4)
    rows: list[tuple[int, int, int, int]] = []
    job = 0
    for begin, width in ((0, 256), (256, 128), (384, 64), (448, 64)):
        job = _one_after_another(rng, rows, job, cells, range(begin, begin + width), (36, 432))
    wide = job
    at = _WIDE
    while at < _BUSY:
        width = min(rng.choice((1, 1, 2, 4)), _BUSY - at)
        job = _one_after_another(rng, rows, job, cells, range(at, at + width), (1, 120))
        at += width
    columns = np.array(rows, dtype=np.int64).T
    return _Placed(columns[0], columns[1], columns[2], columns[3], wide)


def _one_after_another(
    rng: Random,
    rows: list[tuple[int, int, int, int]],
    job: int,
    cells: int,
    nodes: range,
    lengths: tuple[int, int],
) -> int:
    at = 0
    while at < cells:
        end = at + rng.randint(*lengths)
        # Who runs at the month's end still runs when it was booked.
        end = cells if end + 2 > cells else end
        rows += [(job, node, at, end) for node in nodes]
        job, at = job + 1, end
    return job


def _make(path: Path) -> Month:
    # The clock of who asks is set back to this.
    end_us = int(time.time()) // 3600 * HOUR_US - HOUR_US + _LIVE_MINUTES * 60_000_000
    live_us = end_us - _LIVE_MINUTES * 60_000_000
    cells = DAYS * 144
    first_us = live_us - cells * CELL_US
    placed = _placed(cells)
    began = time.monotonic()
    kinds = [_Kind(number, live_us) for number in range(4)]
    layouts = [kinds[node % 4].layout(node, _own_job(placed, node, cells)) for node in range(NODES)]
    DuckDBStore(path).close()
    connection = duckdb.connect(str(path))
    connection.execute("PRAGMA threads = 2")
    _names(connection, placed, layouts, first_us)
    for what, statement in month_sql.statements(first_us, live_us, NODES):
        at = time.monotonic()
        connection.execute(statement)
        print(f"month: {what} in {time.monotonic() - at:.1f} s", file=sys.stderr)
    month_sql.blocks(connection, path, first_us, live_us, NODES, BOOT_US)
    connection.execute("CHECKPOINT")
    connection.close()
    print(f"month: written after {time.monotonic() - began:.0f} s", file=sys.stderr)
    _live(path, kinds, layouts)
    print(f"month: booked after {time.monotonic() - began:.0f} s", file=sys.stderr)
    numbers = int(placed.job.max()) + 1
    short = int(placed.job[(placed.job >= placed.wide) & (placed.last - placed.first < 3)][0])
    return Month(str(path), end_us, NODES * len(layouts[0].series), numbers, "slurm.1", f"slurm.{short}")


# The simulated node's boot clock when it began.
BOOT_US = 50_000_000


def _own_job(placed: _Placed, node: int, cells: int) -> int | None:
    own = np.flatnonzero((placed.node == node) & (placed.last == cells))
    return int(placed.job[own[0]]) if len(own) else None


class _Kind:
    """A node that many are like: they live through the same, each in its own name and with its own job."""

    def __init__(self, number: int, wall_us: int) -> None:
        self._node = SimulatedNode(
            cpus=64,
            domains=[(d, report_pb2.SOURCE_KIND_COUNTER) for d in ("cpu.0", "cpu.1", "memory.0", "memory.1")],
            wall_us=wall_us,
        )
        job = Load("job", cpu_us=(20 + number) * 1_000_000, memory_bytes=8 << 30, reserved_millicpus=48_000)
        services = [
            Load(
                f"unit.s{i}.service", report_pb2.WORKLOAD_KIND_SYSTEM, cpu_us=3_000 * i, memory_bytes=i << 20
            )
            for i in range(1, 6)
        ]
        self._node.begin([job, *services])

    def layout(self, node: int, job: int | None) -> NodeLayout:
        """Return the layout of one of them."""
        message = report_pb2.Layout.FromString(next(iter(self._node.layouts.values())))
        message.node = name(node)
        own = message.workloads[0]
        if job is None:
            own.id, own.kind = "unit.batch.service", report_pb2.WORKLOAD_KIND_SYSTEM
        else:
            own.id, own.name, own.user = f"slurm.{job}", f"train-{job % 7}", _USERS[job % 5]
        return decode_layout(message.SerializeToString())

    def report(self) -> report_pb2.Report:
        """Live through 10 s, and tell."""
        for _ in range(10):
            self._node.tick()
        return self._node.report()


def _live(path: Path, kinds: list[_Kind], layouts: list[NodeLayout]) -> None:
    store = DuckDBStore(path)
    committer = Committer(store, IngestStats())
    keeper = Keeper(store)
    for number in range(_LIVE_MINUTES * 6):
        committer.apply(list(_reports([kind.report() for kind in kinds], layouts, first=number == 0)))
        if number % 6 == 5:
            for _ in keeper.roll_up():
                pass
    store.close()


def _reports(made: list[report_pb2.Report], layouts: list[NodeLayout], *, first: bool) -> Iterator[Decoded]:
    for number, layout in enumerate(layouts):
        report = made[number % len(made)]
        report.node, report.layout_hash = layout.node, layout.hash
        del report.sources[:]
        if first:
            for source in ("cpu", "memory", "disks", "rapl"):
                report.sources.add(name=source, state=report_pb2.SOURCE_STATE_WORKING)
        yield decode_report(report, layout, 1 << 52, 0)


def _names(
    connection: duckdb.DuckDBPyConnection, placed: _Placed, layouts: list[NodeLayout], first_us: int
) -> None:
    nodes = np.arange(NODES)
    jobs, at = np.unique(placed.job, return_index=True)
    accounts = ["idle", "system", "agent", "unattributed", *(f"job:slurm.{job}" for job in jobs.tolist())]
    insert(connection, "nodes", pa.table({"node_id": nodes, "node": [name(n) for n in range(NODES)]}))
    boots = pa.array([_BOOT_BEFORE] * NODES, pa.binary())
    insert(connection, "boots", pa.table({"boot_id": nodes, "node_id": nodes, "boot": boots}))
    insert(connection, "accounts", pa.table({"account_id": np.arange(len(accounts)), "account": accounts}))
    start_us = first_us + placed.first * CELL_US
    rows = {
        "job_number": np.arange(len(placed.job)),
        "node_id": placed.node,
        "job": [f"slurm.{job}" for job in placed.job.tolist()],
        "source": ["slurm"] * len(placed.job),
        "name": [f"train-{job % 7}" for job in placed.job.tolist()],
        "user_name": [_USERS[job % 5] for job in placed.job.tolist()],
        "start_unix_us": start_us,
    }
    insert(connection, "jobs", pa.table(rows))
    ended = placed.last < placed.last.max()
    ends = {
        "job": np.array(rows["job"])[ended],
        "node_id": placed.node[ended],
        "end_unix_us": (first_us + placed.last * CELL_US)[ended],
        "exit_status": np.zeros(int(ended.sum()), dtype=np.int64),
    }
    insert(connection, "job_ends", pa.table(ends))
    keys = [(n, key) for n, layout in enumerate(layouts) for key in layout.series]
    series = {
        "series_id": np.arange(len(keys)),
        "node_id": np.array([n for n, _ in keys]),
        "metric": np.array([key.metric for _, key in keys]),
        **{part: [getattr(key, part) for _, key in keys] for part in ("domain", "device", "workload")},
    }
    insert(connection, "series", pa.table(series))
    used = pa.table(
        {
            "account_id": placed.job + 4,
            "node_id": placed.node,
            "first_us": start_us,
            "last_us": first_us + placed.last * CELL_US,
            # µJ a second, a multiple of 10 so that every part of it is whole.
            "second_uj": 250_000_000 + placed.job % 97 * 4_000_000 + placed.node % 31 * 10_010,
        }
    )
    connection.register("used", used)
    connection.execute("CREATE TEMP TABLE placed AS SELECT * FROM used")
    connection.unregister("used")
    assert len(jobs) == len(at)
