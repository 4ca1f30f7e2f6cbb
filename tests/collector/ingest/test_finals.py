"""In whatever order Reports come, a final figure changes only with its revision, and only by what is new."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.finals import Finals, Judgement
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.queries.jobs import get_job
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.rows import Places
from tests.simulated.delivery import decoded
from tests.simulated.finality import final_jobs
from tests.simulated.node import WALL_US, Load, SimulatedNode

JOBS = ("a", "b")


def _reports() -> list[Decoded]:
    """Return what four nodes send on which two jobs come, go, end with and without a word, and come back."""
    found: list[Decoded] = []
    lives = {
        "n1": [("a", ""), ("a", "a"), ("", ""), ("b", "")],
        "n2": [("", ""), ("a", ""), ("ab", "ab"), ("", "")],
        "n3": [("b", ""), ("b", ""), ("", "b"), ("a", "")],
        # The job comes back under its name, twice.
        "n4": [("a", "a"), ("a", ""), ("a", "a"), ("", ""), ("a", "")],
    }
    for name, life in lives.items():
        node, sent, ends = SimulatedNode(name=name, boot=name.encode() * 8), [], dict[str, int]()
        for jobs, ended in life:
            node.begin([Load(job, cpu_us=1_000_000, start_unix_us=ends.get(job, 0)) for job in jobs])
            node.tick()
            sent.append(node.report())
            for job in ended:
                ends[job] = WALL_US + node.now_us
                sent[-1].ended.add(workload_id=job, end_unix_us=ends[job], exit_status=0)
        found += decoded(node, sent)
    return found


REPORTS = _reports()
PLACES = st.integers(0, len(REPORTS) - 1)


@settings(max_examples=20)
@given(st.lists(st.lists(PLACES, min_size=1, max_size=5), min_size=1, max_size=14), st.booleans())
def test_any_order_and_any_batches(batches: list[list[int]], restarts: bool) -> None:
    """Two answers of ended and the same revision say the same energy, and each late Report raised one."""
    store = DuckDBStore(":memory:")
    committer = Committer(store, IngestStats())
    stored: dict[int, Decoded] = {}
    late: Counter[str] = Counter()
    quoted: dict[str, dict[int, int]] = defaultdict(dict)
    for batch in batches:
        if restarts:
            committer = Committer(store, IngestStats())
        final = final_jobs(stored.values())
        new = {i: REPORTS[i] for i in batch if i not in stored}
        for one in new.values():
            accounts = set(book([one.readings]).account)
            late.update(job for job in final if f"job:{job}" in accounts)
        stored |= new
        committer.apply([REPORTS[i] for i in batch])
        for job in JOBS:
            if not any(job in one.readings.layout.jobs for one in stored.values()):
                continue
            found = get_job(store, job)
            assert found.revision == 1 + late[job]
            assert (found.state == "ended") == (job in final_jobs(stored.values()))
            if found.state == "ended":
                assert quoted[job].setdefault(found.revision, found.energy_uj) == found.energy_uj
    store.close()


class _Counted:
    """A store that counts how often it is asked where jobs are."""

    def __init__(self, store: Store) -> None:
        self._store, self.shared = store, store.shared
        self.asked = 0
        self.everywhere: set[str] = set()

    def places(self, nodes: set[str], jobs: set[str], everywhere: set[str]) -> Places:
        """Answer as the store does."""
        self.asked += 1
        self.everywhere = everywhere
        return self._store.places(nodes, jobs, everywhere)


def test_nothing_is_asked_while_jobs_run_or_there_are_none() -> None:
    """The store is asked twice when jobs come, and not again while Reports follow in the same layout."""
    store = DuckDBStore(":memory:")
    counted, finals = _Counted(store), Finals()
    node = SimulatedNode()
    asked = []
    for jobs in ("a", "a", "a", "a", "", "", "ab", "ab", "ab"):
        if [*jobs] != [load.id for load in node._loads] or not node.layouts:
            node.begin([Load(job, cpu_us=1_000_000) for job in jobs])
        node.tick()
        batch = decoded(node, [node.report()])
        judgement = finals.judge(counted, batch, book([batch[0].readings]))  # type: ignore[arg-type]
        Committer(store, IngestStats()).apply(batch)
        finals.accept(judgement)
        asked.append(counted.asked)
    assert asked == [1, 2, 2, 2, 2, 2, 3, 4, 4]
    finals.meet("n1")
    finals.judge(counted, batch, book([batch[0].readings]))  # type: ignore[arg-type]
    assert counted.asked == 5
    store.close()


def test_a_job_that_runs_somewhere_is_asked_for_only_where_it_comes() -> None:
    """A job that is known to run is looked for on the node it comes to alone, but in a shared store."""
    store = DuckDBStore(":memory:")
    counted, finals = _Counted(store), Finals()
    nodes = [SimulatedNode(name=f"n{i}", boot=bytes([i] * 16)) for i in range(3)]
    committer = Committer(store, IngestStats())

    def judge(node: SimulatedNode) -> set[str]:
        node.tick()
        batch = decoded(node, [node.report()])
        finals.accept(finals.judge(counted, batch, book([batch[0].readings])))  # type: ignore[arg-type]
        committer.apply(batch)
        return counted.everywhere

    for node in nodes:
        node.begin([Load("a", cpu_us=1_000_000)])
    assert [judge(nodes[0]), judge(nodes[0]), judge(nodes[1]), judge(nodes[1])] == [
        {"a"},
        {"a"},
        set(),
        set(),
    ]
    for node in nodes[:2]:
        node.begin([])
        judge(node)
    assert judge(nodes[2]) == {"a"}
    counted.shared = True
    nodes[2].begin([Load("a", cpu_us=1_000_000), Load("b", cpu_us=1)])
    assert judge(nodes[2]) == {"a", "b"}
    store.close()


def test_another_life_under_the_same_name_raises_once() -> None:
    """Who logs in again runs, and makes a final figure provisional: once; nothing is asked while he does."""
    store, node = DuckDBStore(":memory:"), SimulatedNode()
    counted = _Counted(store)
    committer, end_us = Committer(store, IngestStats()), 0
    told: list[tuple[str, int, int | None]] = []
    asked: list[int] = []
    committer._finals = _Judged(counted)
    for jobs in ("a", "a", "", "a", "a", "a", "a", ""):
        if [*jobs] != [load.id for load in node._loads] or not node.layouts:
            node.begin([Load(job, cpu_us=1_000_000, start_unix_us=end_us) for job in jobs])
        node.tick()
        report = node.report()
        if len(told) in (1, 6):
            end_us = WALL_US + node.now_us
            report.ended.add(workload_id="a", end_unix_us=end_us, exit_status=len(told))
        committer.apply(decoded(node, [report]))
        found = get_job(store, "a")
        told.append((found.state, found.revision, found.exit_status))
        asked.append(counted.asked)
    again = ("running", 2, None)
    assert told == [
        ("running", 1, None),
        ("ended", 1, 1),
        ("ended", 1, 1),
        *[again] * 3,
        ("ended", 2, 6),
        ("ended", 2, 6),
    ]
    # Of Reports 4 and 5, which go on as the third did, nothing.
    assert asked[3:6] == [asked[3]] * 3
    store.close()


class _Judged(Finals):
    """Judges by another store than it is given."""

    def __init__(self, store: _Counted) -> None:
        super().__init__()
        self._store = store

    def judge(self, _store: Store, reports: Sequence[Decoded], books: Books) -> Judgement:
        """Judge by it."""
        return super().judge(self._store, reports, books)  # type: ignore[arg-type]
