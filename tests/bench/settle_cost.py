"""What it costs to settle the books: an hour of nodes, beside moving the same hour into a block."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

# As `joulebook collector` has it; numpy reads it when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper
from tests.bench.rows import Row, row, write
from tests.simulated.delivery import decoded
from tests.simulated.node import WALL_US, Load, SimulatedNode

_NODES, _REPORTS, _TICKS = 10, 360, 10
_WALL_US = (WALL_US // HOUR_US + 1) * HOUR_US
_LATER_US = _WALL_US + 10 * HOUR_US


def measure() -> list[Row]:
    """Return CPU a node and hour, of nodes with one job, four jobs and sixteen that change now and then."""
    rows = []
    for jobs in (0, 1, 4, 16):
        moved, settled, longest = _cost(jobs)
        rows += [
            row(
                f"settle: CPU a node and hour, {jobs} jobs", "ms", settled, peer="moving it", peer_value=moved
            ),
            row(f"settle: longest step, {jobs} jobs", "ms", longest),
            row(f"settle: 16,000 nodes, {jobs} jobs each", "cores", settled / 1000 * 16_000 / 3600),
        ]
    return rows


def _cost(jobs: int) -> tuple[float, float, float]:
    """Return ms of CPU a node to move an hour and to settle it, and the longest step of that by the clock."""
    with tempfile.TemporaryDirectory() as name:
        store = DuckDBStore(Path(name) / "books")
        committer = Committer(store, IngestStats())
        for batch in zip(*(_hour(f"n{n}", jobs) for n in range(_NODES)), strict=True):
            committer.apply(list(batch))
        began = time.process_time()
        for _ in Keeper(store).steps(_LATER_US):
            pass
        moved = time.process_time() - began
        longest, began, last = 0.0, time.process_time(), time.perf_counter()
        for _ in Keeper(store, policy=Policy.RESERVED).steps(_LATER_US):
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        settled = time.process_time() - began
        if found := embedded(store, Policy.RESERVED):
            raise RuntimeError(f"settled books are wrong: {found[0]}")
        store.close()
    return moved * 1000 / _NODES, settled * 1000 / _NODES, longest * 1000


def _hour(name: str, jobs: int) -> Iterator[Decoded]:
    rng = Random(name)
    node = SimulatedNode(name=name, boot=name.encode().ljust(16, b"."), cpus=64, wall_us=_WALL_US)
    sent = []
    for number in range(_REPORTS):
        if number % 30 == 0:
            node.begin(
                [
                    Load(
                        f"slurm.{name}.{job}",
                        cpu_us=rng.randrange(100_000, 64_000_000 // max(jobs, 1)),
                        memory_bytes=rng.randrange(1 << 30),
                    )
                    for job in range(jobs)
                ]
            )
            node.active_uj_per_cpu_s = rng.randrange(2_000_000, 8_000_000)
        for _ in range(_TICKS):
            node.tick()
        sent.append(node.report())
    yield from decoded(node, sent)


if __name__ == "__main__":
    write("settle", measure())
