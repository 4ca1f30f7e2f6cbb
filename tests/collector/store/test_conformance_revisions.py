"""What comes after a job's figure was final raises its revision, once, in every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.store.duckdb import store as embedded
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import Store, StoreError
from joulebook.collector.store.rows import Revision
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from tests.collector.store.conftest import Kind
from tests.simulated.delivery import decoded, deliver, energy_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode

JOB = 'slurm.7,a="b" c\\'
_NOW_US = WALL_US + 77_000_000


def a_job_on_two_nodes() -> tuple[list[Decoded], list[Decoded]]:
    """Return two Reports of n1, in the second of which the job ends, and four of n2, in the third."""
    found = []
    for name, own in (("n1", 2), ("n2", 3)):
        node = SimulatedNode(name=name, boot=name.encode() * 8)
        node.begin([Load(JOB, cpu_us=1_000_000), Load("slurm.8", cpu_us=500_000)])
        sent = []
        for _ in range(own):
            node.tick()
            sent.append(node.report())
        sent[-1].ended.add(workload_id=JOB, end_unix_us=WALL_US + own * 1_000_000, exit_status=0)
        node.begin([Load("slurm.8", cpu_us=500_000)])
        node.tick()
        sent.append(node.report())
        found.append(decoded(node, sent))
    return found[0], found[1]


def committer_of(store: Store) -> Committer:
    """Return a collector's committer whose clock stands still."""
    return Committer(store, IngestStats(), wall_clock_ns=lambda: _NOW_US * 1000)


def revision(store: Store, job: str = JOB) -> tuple[str, int]:
    """Return a job's state and revision."""
    found = get_job(store, job)
    assert found.revised_us == (None if found.revision == 1 else _NOW_US)
    (listed,) = [one for one in list_jobs(store, limit=10).items if one.job == job]
    assert listed == found
    return found.state, found.revision


def test_late_reports_raise_it_and_others_do_not(kind: Kind) -> None:
    """A running job has its first figure; a node that was not known of raises it, a Report at a time."""
    store = kind.opened()
    first, second = a_job_on_two_nodes()
    committer = committer_of(store)
    told = []
    for batch in (first[:1], first[1:], [second[3]], second[:1], [second[2], second[1]]):
        committer.apply(batch)
        told.append(revision(store))
    assert told == [("running", 1), ("ended", 1), ("ended", 1), ("ended", 2), ("ended", 4)]
    # It never ended.
    assert revision(store, "slurm.8") == ("running", 1)
    assert store.revisions(["slurm.8", "slurm.9"]) == {}
    assert store.revisions([JOB, "slurm.8"]) == {JOB: Revision(4, _NOW_US)}


def test_a_job_that_runs_again_is_not_final(kind: Kind) -> None:
    """A node that comes late and still runs the job raises it once; it is final again when it ended there."""
    store = kind.opened()
    first, second = a_job_on_two_nodes()
    committer = committer_of(store)
    told = []
    for batch in (first, second[:1], second[1:2], second[2:3], second[3:]):
        committer.apply(batch)
        told.append(revision(store))
    assert told == [("ended", 1), ("running", 2), ("running", 2), ("ended", 2), ("ended", 2)]


def test_a_job_that_comes_back_runs(kind: Kind) -> None:
    """Who logs in again runs, and his figure is the next one, once; it is final when he is gone again."""
    name = kind.fresh()
    node, told, ends_us = SimulatedNode(), [], [0]
    energy_uj_of: dict[int, int] = {}
    for number, jobs in enumerate((JOB, JOB, "", JOB, JOB, JOB, "")):
        store = kind.opened(name)
        if number in (0, 2, 3, 6):
            loads = [Load(JOB, cpu_us=1_000_000, start_unix_us=ends_us[-1])] if jobs else []
            node.begin([*loads, Load("slurm.8", cpu_us=500_000)])
        node.tick()
        report = node.report()
        if number in (1, 5):
            ends_us.append(WALL_US + node.now_us - 50_000_000)
            report.ended.add(workload_id=JOB, end_unix_us=ends_us[-1], exit_status=number)
        committer_of(store).apply(decoded(node, [report]))
        state, figure = revision(store)
        found = get_job(store, JOB)
        assert found.start_us == WALL_US
        for wanted in ("running", "ended"):
            listed = [one.job for one in list_jobs(store, limit=10, state=wanted).items]
            assert (JOB in listed) == (wanted == state)
        if state == "ended":
            assert energy_uj_of.setdefault(figure, found.energy_uj) == found.energy_uj
        told.append((state, figure, found.exit_status, found.end_us))
        kind.close()
    again = ("running", 2, None, None)
    first, second = ("ended", 1, 1, ends_us[1]), ("ended", 2, 5, ends_us[2])
    assert told == [("running", 1, None, None), first, first, again, again, second, second]


@pytest.mark.parametrize(("cpu_us", "told"), [(0, ("ended", 1)), (1_000_000, ("ended", 2))])
def test_a_job_that_ended_with_nothing(kind: Kind, cpu_us: int, told: tuple[str, int]) -> None:
    """Its figure is 0 until a Report gives it energy, which raises it; one that gives it none does not."""
    store = kind.opened()
    committer = committer_of(store)
    for name, own_us in (("n1", 0), ("n2", cpu_us)):
        node = SimulatedNode(name=name, boot=name.encode() * 8)
        node.begin([Load(JOB, cpu_us=own_us), Load("slurm.8", cpu_us=500_000)])
        node.tick()
        ends = node.report()
        ends.ended.add(workload_id=JOB, end_unix_us=WALL_US + 1_000_000, exit_status=0)
        node.begin([Load("slurm.8", cpu_us=500_000)])
        node.tick()
        # Of the second node the newer one comes first, so that the job never runs again.
        for report in (ends, node.report())[:: 1 if name == "n1" else -1]:
            committer.apply(decoded(node, [report]))
        if name == "n1":
            assert (revision(store), energy_uj(store, f"job:{JOB}")) == (("ended", 1), 0)
    assert revision(store) == told
    assert (energy_uj(store, f"job:{JOB}") > 0) == (cpu_us > 0)


def test_what_ends_within_a_commit_was_not_final(kind: Kind) -> None:
    """Reports that become durable together with the end change no figure that anybody could have quoted."""
    store = kind.opened()
    first, second = a_job_on_two_nodes()
    committer_of(store).apply([*reversed(second), *first])
    assert revision(store) == ("ended", 1)


def test_repetitions_never_raise_it(kind: Kind) -> None:
    """Whoever delivers them again, collectors that know only what is stored included, nothing is raised."""
    name = kind.fresh()
    first, second = a_job_on_two_nodes()
    committer = committer_of(store := kind.opened(name))
    for batch in (first, first, [second[3]], [second[0], second[0]], second[:1], [*first, *second[:1]]):
        committer.apply(batch)
        assert revision(store)[1] <= 2
    energy = energy_uj(store, f"job:{JOB}")
    for _ in range(2):
        kind.close()
        store = kind.opened(name)
        assert committer_of(store).apply([*first, second[0], second[3]]).new == []
        assert revision(store) == ("ended", 2)
        assert energy_uj(store, f"job:{JOB}") == energy


def test_a_restarted_collector_knows_what_was_final(kind: Kind) -> None:
    """A collector that only knows what is stored judges as the one that stored it."""
    name = kind.fresh()
    first, second = a_job_on_two_nodes()
    told = []
    for batch in (first[:1], first[1:], second[:1], second[1:2], second[2:3], second[3:]):
        store = kind.opened(name)
        committer_of(store).apply(batch)
        told.append(revision(store))
        kind.close()
    assert told == [("running", 1), ("ended", 1)] + [("running", 2)] * 2 + [("ended", 2)] * 2


def test_named_jobs_and_nodes_are_those_of_all(kind: Kind) -> None:
    """Asked for some, a store tells of them as it does among all, and of nobody else."""
    store = kind.opened()
    first, second = a_job_on_two_nodes()
    deliver(store, [first, second])
    assert store.jobs([JOB]) == [row for row in store.jobs() if row.job == JOB]
    assert store.jobs(["slurm.8", "none"]) == [row for row in store.jobs() if row.job == "slurm.8"]
    assert store.jobs([]) == []

    def told(rows: object) -> list[tuple[object, ...]]:
        return [(r.node, r.layout.hash, r.boot, r.last_unix_us, r.sources) for r in rows]  # type: ignore[attr-defined]

    assert told(store.nodes(["n2", "n9"])) == told(store.nodes())[1:]
    assert store.nodes([]) == []
    assert store.jobs(["slurm.8"], ["n2", "n3"]) == [
        row for row in store.jobs() if (row.job, row.node) == ("slurm.8", "n2")
    ]
    places = store.places(["n1"], [JOB, "slurm.8"], [JOB])
    own = [row for row in store.jobs() if row.job == JOB or row.node == "n1"]
    # An end that was told need not be that of the life that is there.
    assert (places.jobs, told(places.nodes)) == (own, told(store.nodes()))
    # Where a job may still be is told beside the nodes that were asked for.
    assert told(store.places([], [], ["slurm.8"]).nodes) == told(store.nodes())


@pytest.mark.parametrize("kind", ["influxdb"], indirect=True)
def test_two_collectors_share_it(kind: Kind) -> None:
    """Of collectors that share a store, each knows what the other stored: ends, places, and repetitions."""
    name = kind.fresh()
    one, other = committer_of(kind.opened(name)), committer_of(store := kind.opened(name))
    first, second = a_job_on_two_nodes()
    one.apply(first[:1])
    # The node's other Reports go another way, and what waited comes back to the first.
    other.meet("n1")
    other.apply(first[2:])
    assert revision(store) == ("ended", 1)
    one.meet("n1")
    one.apply(first[1:2])
    assert revision(store) == ("ended", 2)
    other.apply(first[:2])
    assert revision(store) == ("ended", 2)
    other.apply(second[:1])
    assert revision(store) == ("running", 3)
    one.apply(second[1:3])
    # For all that the other knows, this follows on what it stored last.
    assert other.apply(second[1:2]).new == [0]
    assert revision(store) == ("ended", 3)


def _steps_of(store: Store) -> list[tuple[Any, str]]:
    """Return what a commit is made of, each by its owner and name."""
    match store:
        case InfluxStore():
            return [(store._server, "write")]
        case VictoriaStore():
            return [(store._facts, "reserve"), (store._server, "write"), (store._facts, "settle")]
        case _:
            return [(embedded, "insert")]


def _broken_off(store: Store, batch: list[Decoded], *, good: int, done: bool) -> bool:
    """Commit a batch whose step after some good ones fails, done or not; say whether there is such a step."""
    steps = 0

    def failing(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps != good + 1:
                return step(*given, **named)
            if done:
                step(*given, **named)
            raise duckdb.IOException("no answer") if owner is embedded else StoreError("no answer")

        return run

    committer = committer_of(store)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _steps_of(store):
            patch.setattr(owner, name, failing(getattr(owner, name)))
        try:
            committer.apply(batch)
        except StoreError:
            return True
    return False


@pytest.mark.parametrize("done", [False, True])
def test_a_commit_that_breaks_off_loses_and_doubles_nothing(kind: Kind, *, done: bool) -> None:
    """Wherever a commit fails, and whoever tries again, each late Report has raised the revision once."""
    first, second = a_job_on_two_nodes()
    good = 0
    while True:
        name = kind.fresh()
        store = kind.opened(name)
        deliver(store, [first, second[3:]])
        assert revision(store) == ("ended", 1)
        broke = _broken_off(store, second[:2], good=good, done=done)
        assert revision(store)[1] in ((1, 3) if broke else (3,))
        kind.close()
        store = kind.opened(name)
        committer_of(store).apply(second[:3])
        assert revision(store) == ("ended", 4)
        kind.close()
        if not broke:
            break
        good += 1
    assert good >= 3
