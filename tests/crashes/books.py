"""Batches of Reports of which it is known what is booked when the first so many are stored."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.check.books import embedded
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.rows import EVER
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded, total_uj
from tests.simulated.node import Load, SimulatedNode

FILE = "it's books.duckdb"
COMMITS = 9
# A gap is short enough that no counter can have wrapped twice in it.
_TICK_US = {3: 1_000_000, 6: 900_000_000, 9: 900_000_000}


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit stores, and what the accounts of all nodes have received then, in µJ."""

    reports: list[Decoded]
    booked_uj: int

    @property
    def places(self) -> set[tuple[str, int]]:
        """Return whose Reports it has, by node and start."""
        return {(one.node, one.start_us) for one in self.reports}


def batches(commits: int = COMMITS) -> list[Batch]:
    """Return batches of two nodes: jobs come and go, Reports are late, agents restart, hours pass."""
    nodes = [SimulatedNode("n1"), SimulatedNode("n2", boot=b"c" * 16)]
    for node in nodes:
        node.begin([Load("slurm.1", cpu_us=1_000_000, memory_bytes=1 << 30)])
    made, late, at_us = [], None, {node.name: 0 for node in nodes}
    for number in range(commits):
        reports: list[Decoded] = []
        for node in nodes:
            own = _next(node, number)
            if number == 3 and node is nodes[0]:
                # It arrives two commits later, into a gap that is booked by then.
                late = own
                continue
            reports += own
            at_us[node.name] = node.measured_uj
        if number == 5 and late is not None:
            reports = [*late, *reports]
        made.append(Batch(reports, sum(at_us.values())))
    return made


def _next(node: SimulatedNode, number: int) -> list[Decoded]:
    """Let some minutes pass, and on the way to the seventh batch an hour; return the Reports."""
    cut: list[report_pb2.Report] = []
    if number == 4:
        # What was metered meanwhile by nobody is in the next Report's first reading.
        node.tick(5_000_000)
        node.restart_agent()
    for _ in range(2):
        for _ in range(3):
            node.tick(_TICK_US.get(number, 20_000_000))
        cut.append(node.report())
    if number in (1, 5):
        node.begin([Load(f"slurm.{number + n}", cpu_us=500_000, name=f"job {n}") for n in range(3)])
    return decoded(node, cut)


def commit(store: DuckDBStore, batch: Batch) -> None:
    """Commit a batch, as a collector that has just begun does."""
    Committer(store, IngestStats()).apply(list(batch.reports))


def stored(store: DuckDBStore, made: list[Batch]) -> int:
    """Return how many batches are there, whole; there must be no part of another, and what they come to."""
    marks = store._marks(EVER, "node_id, start_us, is_gap")
    held = set(store._rows(f"SELECT node, start_us FROM {marks} JOIN nodes USING (node_id) WHERE NOT is_gap"))
    done = 0
    while done < len(made) and made[done].places <= held:
        done += 1
    assert held == set[tuple[str, int]]().union(*(batch.places for batch in made[:done]))
    assert total_uj(store) == (made[done - 1].booked_uj if done else 0)
    return done


def assert_sound(store: DuckDBStore, booked_uj: int) -> None:
    """Check that the books are what the stored readings make, how much is in them, and the blocks' files."""
    assert embedded(store, Policy.RESERVED) == []
    assert total_uj(store) == booked_uj
    assert store.files is not None
    there = {path for path in store.files.directory.rglob("*") if path.is_file()}
    with store._reading(), store._cursor() as cursor:
        assert there == set(store.files.vouched_for(cursor))
