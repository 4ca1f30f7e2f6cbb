"""Hours are booked anew alike in every kind of store that settles, whenever that is done and breaks off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import duckdb
import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.queries.jobs import get_job
from joulebook.collector.store.duckdb import rebooking
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.protocol import Store, StoreError
from joulebook.collector.store.victoriametrics.store import VictoriaStore
from tests.collector.store.conftest import Kind
from tests.collector.store.hours import batches
from tests.collector.store.settled import settled_alone, settling
from tests.simulated.delivery import EVER, books_of, decoded, deliver, total_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode

JOBS = ("slurm.1", "slurm.2")
pytestmark = pytest.mark.parametrize("kind", ["duckdb", "influxdb", "victoriametrics"], indirect=True)


def two_jobs(name: str = "n1") -> list[Decoded]:
    """Return Reports in which one job draws 5 J a second of CPU time, another one 15, and both end."""
    node = SimulatedNode(name=name, boot=name.encode() * 8, cpus=8)
    light, hard = (Load(job, cpu_us=2_000_000, start_unix_us=WALL_US) for job in JOBS)
    sent = []
    for loads, mean_j in (([light], 5), ([light, hard], 10), ([hard], 15), ([light, hard], 10), ([], 0)):
        node.active_uj_per_cpu_s = mean_j * 1_000_000
        node.begin(loads)
        for _ in range(6):
            for _ in range(10):
                node.tick()
            sent.append(node.report())
    return decoded(node, sent)


def told(store: Store) -> list[tuple[Any, ...]]:
    """Return what is said of the jobs."""
    jobs = [get_job(store, job) for job in JOBS]
    return [(job.state, job.settled, job.revision, job.energy_uj, job.superseded) for job in jobs]


def without_gaps(store: Store) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the books of what is not `unattributed`, which gaps are, but for rows of nothing."""
    return {key: row for key, row in books_of(store).items() if key[1] != "unattributed" and any(row)}


@pytest.mark.parametrize("seed", [1])
def test_whatever_came_when_the_books_are_the_same(kind: Kind, seed: int) -> None:
    """Reports late by hours, settled at any time, by collectors that stop: rows are what an hour makes."""
    rng = Random(seed)
    name = kind.fresh()
    store, never = kind.opened(name), kind.opened()
    steps: Iterator[str] = iter(())
    sent = []
    done: Counter[str] = Counter()
    for number, batch in enumerate(batches(rng)):
        for one in (store, never):
            Committer(one, IngestStats()).apply(list(batch))
        sent += batch
        for _ in range(rng.choice((0, 3, 12, 30))):
            if (step := next(steps, None)) is None:
                steps = settling(store)
            done[step or ""] += 1
            assert residuals_uj(store, EVER) == {}
        if number % 5 == 4:
            steps = iter(())
            kind.close()
            store, never = kind.opened(name), kind.opened()
            deliver(never, [sent])
    assert done["booked anew"]
    list(settling(store))
    assert "booked anew" not in list(settling(store))
    wanted = {key: row for key, row in settled_alone(sent).items() if key[1] != "unattributed"}
    assert without_gaps(store) == {key: row for key, row in wanted.items() if any(row)}
    assert residuals_uj(store, EVER) == {}
    assert without_gaps(store) != without_gaps(never)
    assert store.booked_uj(EVER) == never.booked_uj(EVER)
    # The time that each account was observed never falls.
    observed = {(row.node, row.account): row.observed_us for row in store.accounts(EVER)}
    live = {(row.node, row.account): row.observed_us for row in never.accounts(EVER)}
    assert live.items() <= observed.items()
    over = [store.energy_over_time(WALL_US, WALL_US + 10**11, 10**10, node) for node in ("n1", None)]
    assert all(uj > 0 for rows in over for _, _, uj in rows)
    kind.close()
    assert without_gaps(kind.opened(name)) == {key: row for key, row in wanted.items() if any(row)}


def test_a_job_that_ended_is_settled(kind: Kind) -> None:
    """Its figure is provisional, then settled: nearer to the truth, one revision on, the old one still told.

    A late Report makes it provisional again, until its hour is booked anew.
    """
    store = kind.opened()
    reports = two_jobs()
    late = reports.pop(3)
    deliver(store, [reports])
    live = {job: get_job(store, job) for job in JOBS}
    assert {(job.state, job.settled, job.revision) for job in live.values()} == {("ended", False, 1)}
    list(settling(store))
    for name, truth_j in (("slurm.1", 5 * 2 * 170), ("slurm.2", 15 * 2 * 180)):
        job, was = get_job(store, name), live[name]
        assert (job.settled, job.revision) == (True, 2)
        assert abs(job.active_uj - truth_j * 10**6) * 4 < abs(was.active_uj - truth_j * 10**6)
        assert [(w.revision, w.energy_uj, w.plus_minus_uj) for w in job.superseded] == [
            (1, was.energy_uj, was.plus_minus_uj)
        ]
    assert sum(get_job(store, name).energy_uj for name in live) == sum(j.energy_uj for j in live.values())
    before = told(store)
    list(settling(store))
    assert told(store) == before
    deliver(store, [[late]])
    assert (get_job(store, "slurm.1").settled, get_job(store, "slurm.1").revision) == (False, 3)
    list(settling(store))
    again = get_job(store, "slurm.1")
    assert again.settled
    assert [was.revision for was in again.superseded] == [1, 3][: again.revision - 2]
    assert residuals_uj(store, EVER) == {}


def test_a_snapshot_keeps_the_figures_that_it_saw(kind: Kind) -> None:
    """What is booked anew between two questions does not show: a figure and its revision belong together."""
    store = kind.opened()
    deliver(store, [two_jobs()])
    live = told(store)
    with store.snapshot() as frozen:
        before = frozen.accounts(EVER)
        list(settling(store))
        assert frozen.accounts(EVER) == before
        assert frozen.revisions(JOBS) == {}
        assert frozen.superseded(JOBS) == {}
        assert not frozen.settled(EVER, ["n1", "n2"]).has("n1", max(row.last_unix_us for row in before))
    assert [job[:3] for job in told(store)] == [("ended", True, 2)] * 2
    assert [job[3] for job in told(store)] != [job[3] for job in live]


def _steps_of(store: Store) -> list[tuple[Any, str]]:
    """Return what booking anew is made of, each by its owner and name."""
    match store:
        case VictoriaStore():
            facts = store._facts
            return [(facts, "take_booking"), (store._server, "write"), (facts, "rebook")]
        case InfluxStore():
            return [(store._server, "write")]
        case _:
            return [(rebooking, "replace_rows")]


def _broken_off(store: Store, *, good: int, done: bool) -> bool:
    """Book anew with the step after some good ones failing, done or not; say whether there is such a step."""
    steps = 0

    def failing(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps != good + 1:
                return step(*given, **named)
            if done:
                step(*given, **named)
            raise duckdb.IOException("no answer") if owner is rebooking else StoreError("no answer")

        return run

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _steps_of(store):
            patch.setattr(owner, name, failing(getattr(owner, name)))
        try:
            list(settling(store))
        except StoreError:
            return True
    return False


@pytest.mark.parametrize("done", [False, True])
def test_wherever_it_breaks_off_nothing_is_lost_or_doubled(kind: Kind, *, done: bool) -> None:
    """At each step the books balance, and whoever tries again has every figure replaced once."""
    reports = [two_jobs("n1"), two_jobs("n2")]
    wanted = settled_alone([one for own in reports for one in own])
    good = 0
    while True:
        name = kind.fresh()
        store = kind.opened(name)
        deliver(store, [[one for own in reports for one in own]])
        live_uj, live = total_uj(store), books_of(store)
        live_job_uj = [job[3] for job in told(store)]
        broke = _broken_off(store, good=good, done=done)
        assert residuals_uj(store, EVER) == {}
        assert total_uj(store) == live_uj
        # In InfluxDB each node's hour is a step of its own.
        most = 3 if kind.name == "influxdb" else 2
        if not done and broke and kind.name != "influxdb":
            assert books_of(store) == live
        assert {job[2] for job in told(store)} <= {*range(1, most + 1)}
        kind.close()
        store = kind.opened(name)
        list(settling(store))
        assert {key: row for key, row in books_of(store).items() if any(row)} == {
            key: row for key, row in wanted.items() if any(row)
        }
        assert [job[:3] for job in told(store)] == [("ended", True, most)] * 2
        assert [[was.revision for was in job[4]] for job in told(store)] == [[*range(1, most)]] * 2
        # What the first said before, and no figure twice.
        assert [job[4][0].energy_uj for job in told(store)] == live_job_uj
        assert all(len({was.energy_uj for was in job[4]}) == most - 1 for job in told(store))
        kind.close()
        if not broke:
            break
        good += 1
    assert good >= (1 if kind.name == "duckdb" else 3)


def test_commits_beside_it_are_not_lost(kind: Kind) -> None:
    """What comes for an hour while it is booked anew counts, and has it booked again."""
    store = kind.opened()
    reports = two_jobs()
    late = [reports.pop(place) for place in (20, 9, 3)]
    deliver(store, [reports])
    steps = settling(store)
    for report in late:
        next(steps, None)
        deliver(store, [[report]])
        assert residuals_uj(store, EVER) == {}
    list(steps)
    list(settling(store))
    assert without_gaps(store) == {
        key: row for key, row in settled_alone([*reports, *late]).items() if any(row)
    }
    assert {job.settled for job in (get_job(store, name) for name in JOBS)} == {True}
