"""Every store answers alike: the same history gives the same answers, to questions and to each read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from typing import Any

import pytest

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.series import get_series
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import by_name
from tests.collector.store.conftest import Kind
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster, cluster
from tests.simulated.delivery import EVER, books_of, decoded, deliver, energy_uj, total_uj
from tests.simulated.node import BOOT, WALL_US, Load, SimulatedNode

AWKWARD = r'unit.dev\x2dq,a=b "c"%d\.service' + "\\"
RANGES = [EVER, Range(0, EVER.to_us, "n1"), Range(0, EVER.to_us, "n3"), Range(0, 1)] + [
    Range(WALL_US + from_s * 1_000_000, WALL_US + to_s * 1_000_000, node)
    for from_s, to_s in ((0, 10), (5, 25), (10, 30), (15, 20), (20, 40), (19, 21))
    for node in (None, "n1")
]


@pytest.fixture(scope="module")
def truth() -> Cluster:
    """Two nodes' books, with a gap, a restart and a job that ended, in a DuckDB."""
    return cluster()


def _reports(of: Cluster) -> list[list[Decoded]]:
    return [decoded(n, [r for r in of.reports if r.node == n.name]) for n in of.nodes]


@pytest.fixture(scope="module", params=["duckdb", "influxdb"])
def store(
    request: pytest.FixtureRequest, truth: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same history, delivered to a store of each kind; tests only read it."""
    if request.param == "influxdb":
        name = request.getfixturevalue("influx").fresh()
    else:
        name = str(tmp_path_factory.mktemp("store") / "books.duckdb")
    made = open_store(name)
    deliver(made, _reports(truth))
    yield made
    made.close()


def _edge(edge: Edge) -> tuple[Any, ...]:
    booked = edge.layout.domain_booked
    return (edge.layout.node, edge.layout.hash, edge.at_us, edge.energy_uj[booked].tolist())


def _span(span: Span) -> tuple[Any, ...]:
    return (_edge(span.start), _edge(span.end), span.start_unix_us)


def _tails(store: Store) -> dict[tuple[str, bytes], tuple[Any, ...]]:
    return {key: _span(span) for key, span in store.tails().items()}


def _raw(store: Store, selected: Range) -> list[Any]:
    return sorted(
        (r.layout.node, r.layout.hash, report.tolist())
        for r in store.raw_energy(selected)
        for report in r.energy_uj
    )


def _gaps(store: Store, selected: Range) -> list[Any]:
    return sorted((_edge(a), _edge(b)) for a, b in store.raw_gaps(selected))


def _points(store: Store, selected: Range, metric: int, subject: str | None = None) -> list[Any]:
    return [
        (p.node, p.key, p.unix_us.tolist(), p.interval_us.tolist(), p.values.tolist())
        for p in store.points(selected, metric, subject)
    ]


# A counter and a gauge of each subject, and what no node sends.
_METRICS = (
    "energy_uj",
    "idle_power_mw",
    "cpu_busy_us",
    "memory_used_bytes",
    "read_bytes",
    "cpu_us",
    "memory_bytes",
    "reads",
)

READS: dict[str, Callable[[Store, Range], Any]] = {
    "accounts": lambda s, r: [astuple(row) for row in s.accounts(r)],
    "watched": lambda s, r: [astuple(row) for row in s.watched(r)],
    "raw_energy": _raw,
    "raw_gaps": _gaps,
    "over_time": lambda s, r: sorted(s.energy_over_time(r.from_us, r.to_us, 7_000_003, r.node)),
    "points": lambda s, r: [_points(s, r, by_name()[name].number) for name in _METRICS],
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("selected", RANGES, ids=str)
def test_reads_of_a_range(store: Store, truth: Cluster, read: str, selected: Range) -> None:
    """Each read gives the same of every range, and within a snapshot too."""
    expected = READS[read](truth.store, selected)
    assert READS[read](store, selected) == expected
    with store.snapshot() as frozen:
        assert READS[read](frozen, selected) == expected  # type: ignore[arg-type]  # it only reads


def test_account_of_a_range(store: Store, truth: Cluster) -> None:
    """One account's rows are those that it has among all."""
    for account in (f"job:{JOB}", f"job:{ENDED_JOB}", "idle", "unattributed", "nobody"):
        selected = Range(0, EVER.to_us, account=account)
        assert store.accounts(selected) == truth.store.accounts(selected)


def test_points_of_workloads_on_gpus(kind: Kind) -> None:
    """Of two workloads on two GPUs each has its own series on each, also by one name or by both."""
    gpus = [("gpu.0", report_pb2.SOURCE_KIND_COUNTER), ("gpu.1", report_pb2.SOURCE_KIND_COUNTER)]
    node = SimulatedNode(domains=gpus)
    shares = {"a/b": {"gpu.0": 100_000, "gpu.1": 200_000}, "c": {"gpu.0": 300_000, "gpu.1": 400_000}}
    node.begin([Load(name, gpu_ppm=own) for name, own in shares.items()])
    node.tick()
    store = kind.opened()
    deliver(store, [decoded(node, [node.report()])])
    metric = by_name()["workload_gpu_utilisation_ppm"].number

    def found(subject: str | None) -> dict[tuple[str, str], int]:
        points = store.points(EVER, metric, subject)
        return {(p.key.workload, p.key.domain): p.values.item() for p in points}

    every = {(name, gpu): ppm for name, own in shares.items() for gpu, ppm in own.items()}
    assert found(None) == every
    assert found("a/b") == {key: ppm for key, ppm in every.items() if key[0] == "a/b"}
    assert found("gpu.1") == {key: ppm for key, ppm in every.items() if key[1] == "gpu.1"}
    assert found("a/b/gpu.0") == {("a/b", "gpu.0"): 100_000}


def test_points_of_a_subject(store: Store, truth: Cluster) -> None:
    """A subject that is named has its own series, and one that a metric does not have none."""
    for metric, subject in (
        ("energy_uj", "cpu.0"),
        ("cpu_us", JOB),
        ("cpu_busy_us", "x"),
        ("cpu_busy_us", ""),
    ):
        number = by_name()[metric].number
        assert _points(store, EVER, number, subject) == _points(truth.store, EVER, number, subject)


def test_tails_and_spans(store: Store, truth: Cluster) -> None:
    """The last Report of each boot, and those around any stretch of a boot's clock, are the same."""
    assert _tails(store) == _tails(truth.store)
    for start_us in range(40_000_000, 110_000_000, 5_000_000):
        for end_us in (start_us, start_us + 12_000_000):
            asked = ("n1", BOOT, start_us, end_us)
            assert [*map(_span, store.spans(*asked))] == [*map(_span, truth.store.spans(*asked))]
    assert store.spans("n1", bytes(16), 0, 1) == store.spans("n9", BOOT, 0, 1) == []


def test_nodes_jobs_and_layouts(store: Store, truth: Cluster) -> None:
    """Nodes, jobs and layouts are told alike."""

    def told(of: Store) -> list[Any]:
        return [(r.node, r.layout.serialized, r.boot, r.last_unix_us, dict(r.sources)) for r in of.nodes()]

    assert told(store) == told(truth.store)
    assert store.jobs() == truth.store.jobs()
    for report in truth.reports:
        found = store.layout(report.node, report.layout_hash)
        assert found is not None
        assert found.hash == report.layout_hash
    assert store.layout("n1", 1) is store.layout("", 0) is None


QUESTIONS: dict[str, Callable[[Store, int], Any]] = {
    "ledger": lambda s, now: get_ledger(s, node=None, from_us=0, to_us=now),
    "ledger of a node": lambda s, now: get_ledger(s, node="n1", from_us=now - 15_000_000, to_us=now),
    "jobs": lambda s, _: list_jobs(s, limit=10),
    "job": lambda s, _: get_job(s, JOB),
    "nodes": lambda s, now: list_nodes(s, limit=10, cursor=None, now_us=now),
    "node": lambda s, now: get_node(s, "n2", now_us=now),
    "series": lambda s, now: get_series(
        s,
        metric="energy_uj",
        node=None,
        subject=None,
        from_us=WALL_US,
        to_us=now,
        step_us=7_000_000,
        limit=10,
        cursor=None,
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions(store: Store, truth: Cluster, question: str) -> None:
    """What the API answers from is the same, value by value."""
    assert QUESTIONS[question](store, truth.now_us) == QUESTIONS[question](truth.store, truth.now_us)


def test_books_balance(store: Store, truth: Cluster) -> None:
    """Nothing is left over: the accounts received what the meters delivered."""
    ledger = get_ledger(store, node=None, from_us=0, to_us=EVER.to_us)
    assert (ledger.measured_uj, ledger.residual_uj) == (truth.measured_uj, 0)


def _history(node: SimulatedNode, *, step_us: int = 0) -> list[Decoded]:
    """Return Reports in which workloads come and go, the agent restarts and the wall clock is set back."""
    sent: list[report_pb2.Report] = []
    loads = [Load("slurm.1", cpu_us=2_000_000, memory_bytes=1 << 30, name='a "b"\n\\', user="ü, x=1")]
    node.begin(loads)
    for number in range(8):
        for _ in range(3):
            node.tick()
        sent.append(node.report())
        if number == 1:
            node.begin([*loads, Load("slurm.2", cpu_us=1_500_000), Load(AWKWARD, cpu_us=9)])
        if number == 2:
            node.wall_us -= step_us
        if number == 4:
            node.tick()
            node.restart_agent()
    sent[3].ended.add(workload_id="slurm.1", end_unix_us=WALL_US, exit_status=-9)
    sent[4].ended.add(workload_id="", end_unix_us=WALL_US, exit_status=1)
    sent[4].sources.add(name="", state=report_pb2.SOURCE_STATE_ABSENT, reason="none\nat all \\")
    return decoded(node, sent)


ORDERS: dict[str, list[list[int]]] = {
    "one by one": [[i] for i in range(8)],
    "at once": [[*range(8)]],
    "backwards": [[i] for i in reversed(range(8))],
    "every one three times": [[i, i] for i in range(8)] + [[*range(8)]],
    "gaps filled one after the other": [[0], [7], [3], [5], [1, 2], [6], [4]],
    "gaps filled in batches": [[0, 4, 7], [2, 5], [1, 6, 4], [3]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("step_us", [0, 3_600_000_000, 3_000_000], ids=str)
def test_any_order_gives_the_same_books(kind: Kind, order: str, step_us: int) -> None:
    """Out of order, repeated, gaps filled, the wall clock set back: the same books, in balance."""
    node = SimulatedNode(memory_total=8 << 30)
    reports = _history(node, step_us=step_us)
    truth = DuckDBStore(":memory:")
    deliver(truth, [reports])
    name = kind.fresh()
    for batch in ORDERS[order]:
        # A new store each time: a collector that knows only what was stored.
        deliver(kind.opened(name), [[reports[i] for i in batch]])
        kind.close()
    store = kind.opened(name)
    assert books_of(store) == books_of(truth)
    for read in ("accounts", "watched", "raw_energy", "raw_gaps"):
        assert READS[read](store, EVER) == READS[read](truth, EVER), read
    assert _tails(store) == _tails(truth)
    assert [(j.job, j.name, j.user, j.exit_status) for j in store.jobs()] == [
        (j.job, j.name, j.user, j.exit_status) for j in truth.jobs()
    ]
    assert [dict(n.sources) for n in store.nodes()] == [dict(n.sources) for n in truth.nodes()]
    assert get_ledger(store, node="n1", from_us=0, to_us=EVER.to_us).residual_uj == 0
    assert total_uj(store) == node.measured_uj


def test_awkward_names_are_kept(kind: Kind) -> None:
    """A workload's name may hold whatever is printable; its series and account bear it."""
    node = SimulatedNode()
    store, reports = kind.opened(), _history(node)
    deliver(store, [reports])
    number = by_name()["cpu_us"].number
    assert [p.key.workload for p in store.points(EVER, number, AWKWARD)] == [AWKWARD]
    assert energy_uj(store, f"job:{AWKWARD}") > 0


def test_reboots_stand_beside_each_other(kind: Kind) -> None:
    """Another boot that shows the same wall clock, to the microsecond, takes nothing from the first."""
    store = kind.opened()
    first, second = SimulatedNode(), SimulatedNode(boot=b"b" * 16)
    deliver(store, [_history(first)])
    deliver(store, [_history(second)])
    assert total_uj(store) == first.measured_uj + second.measured_uj
    assert get_ledger(store, node="n1", from_us=0, to_us=EVER.to_us).residual_uj == 0
    assert len(store.tails()) == 2


def test_a_restarted_collector_goes_on(kind: Kind) -> None:
    """A store that is opened again applies nothing twice and loses nothing."""
    node = SimulatedNode()
    reports = _history(node)
    name = kind.fresh()
    batches: Sequence[list[Decoded]] = (reports[:2], reports[1:4], reports[2:])
    duplicates = 0
    for batch in batches:
        duplicates += deliver(kind.opened(name), [batch]).duplicates
        kind.close()
    assert duplicates == 3
    assert total_uj(kind.opened(name)) == node.measured_uj


def test_a_snapshot_stays_as_it_was(kind: Kind) -> None:
    """What is committed between two questions of a snapshot does not show: its books balance."""
    node = SimulatedNode()
    store, reports = kind.opened(), _history(node)
    deliver(store, [[reports[0], reports[3]]])
    with store.snapshot() as frozen:
        before = frozen.accounts(EVER)
        deliver(store, [reports[1:3]])
        deliver(store, [reports[4:]])
        assert frozen.accounts(EVER) == before
        raw_uj = sum(int(r.energy_uj.sum()) for r in frozen.raw_energy(EVER))
        booked_uj = sum(sum(a.active_uj) + sum(a.idle_uj) for a in before if a.account != "unattributed")
        assert raw_uj == booked_uj
        assert len(frozen.raw_gaps(EVER)) == 1
    assert total_uj(store) == node.measured_uj


def test_commits_beside_questions_do_not_show(kind: Kind) -> None:
    """Books that grow and whose gaps are filled while they are read balance in every answer."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    sent = []
    for _ in range(60):
        node.tick()
        sent.append(node.report())
    reports = decoded(node, sent)
    store = kind.opened()
    deliver(store, [reports[:1]])
    batches = [[reports[i + 1]] for i in range(0, 58, 2)] + [[reports[i]] for i in range(2, 60, 2)]
    writer = threading.Thread(target=deliver, args=(store, [*batches, reports]))
    writer.start()
    residuals = []
    while writer.is_alive():
        residuals.append(get_ledger(store, node=None, from_us=0, to_us=EVER.to_us).residual_uj)
    writer.join()
    assert set(residuals) == {0}
    assert total_uj(store) == node.measured_uj
