"""What schedulers told of jobs is kept by every kind of store, beside the books and never in their way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from joulebook.collector.facts.sqlite import SqliteFacts
from joulebook.collector.facts.sqlite_scheduled import TABLE
from joulebook.collector.queries.errors import UnknownNameError
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.store.scheduled import Scheduled
from tests.collector.store.conftest import Kind
from tests.collector.store.settled import FACTS_3
from tests.simulated.delivery import decoded, deliver
from tests.simulated.node import Load, SimulatedNode

JOB = "slurm.7"
TOLD = Scheduled(
    "5_7", "ada", "chem", "main", "sort", "Job/sort", "RUNNING", 1, 4500, 0, "mig-1g.10gb:2", None, 10, 20,
    None, None, 30,
)  # fmt: skip
# What Influx would take for something else, and what has no letter of ours.
ODD = Scheduled(
    known_as='1,2=3 "x"', user="o'é\\", name="\\", owner="'", state="A B", exit_status=-15, told_us=1
)


def run_a_job(jobs: tuple[str, ...] = (JOB,), *, first: str = "root") -> SimulatedNode:
    """Return a node on which jobs run; the first is somebody's, the others bob's."""
    node = SimulatedNode(name="n1", boot=bytes(16))
    node.begin([Load(job, cpu_us=1_000, user=first if job == JOB else "bob") for job in jobs])
    node.tick()
    return node


def test_facts_come_before_the_job_after_it_or_never(kind: Kind) -> None:
    """The energy is booked alike; the facts are shown as soon as both are there, and outlast a restart."""
    name = kind.fresh()
    store = kind.opened(name)
    store.schedule({JOB: TOLD, "slurm.9": ODD})
    with pytest.raises(UnknownNameError, match="its scheduler told of it, and no agent has"):
        get_job(store, JOB)
    deliver(store, [decoded(node := run_a_job((JOB, "slurm.8")), [node.report()])])
    job = get_job(store, JOB)
    assert (job.user, job.account, job.name, job.scheduler) == ("ada", "chem", "sort", TOLD)
    silent = get_job(store, "slurm.8")
    assert (silent.user, silent.account, silent.scheduler) == ("bob", None, None)
    assert silent.energy_uj > 0

    ended = Scheduled(state="FAILED", end_us=40, exit_status=3, told_us=50)
    kind.close()
    store = kind.opened(name)
    store.schedule({JOB: ended, "slurm.8": Scheduled(account="bio", told_us=60)})
    kind.close()
    store = kind.opened(name)
    known = replace(TOLD, state="FAILED", end_us=40, exit_status=3, told_us=50)
    assert store.scheduled() == {
        JOB: known, "slurm.9": ODD, "slurm.8": Scheduled(account="bio", told_us=60)
    }  # fmt: skip
    assert store.scheduled(["slurm.9", "x"]) == {"slurm.9": ODD}
    assert store.scheduled([]) == {}
    found = get_job(store, JOB)
    assert (found.energy_uj, found.exit_status, found.scheduler) == (job.energy_uj, 3, known)
    assert [one for one in list_jobs(store, limit=9).items if one.job == JOB] == [found]


def test_told_again_it_is_the_same(kind: Kind) -> None:
    """A hook that repeats itself changes nothing, not even when it was heard of."""
    store = kind.opened()
    for told_us in (1, 2):
        store.schedule({JOB: replace(TOLD, told_us=told_us)})
    assert store.scheduled() == {JOB: replace(TOLD, told_us=1)}
    store.schedule({})
    # Known at the end, a start that was on its way takes nothing back; a new run does.
    store.schedule({JOB: Scheduled(state="COMPLETED", start_us=20, end_us=40, exit_status=0, told_us=3)})
    store.schedule({JOB: replace(TOLD, told_us=4)})
    assert (known := store.scheduled()[JOB]).state == "COMPLETED"
    assert (known.end_us, known.exit_status) == (40, 0)
    store.schedule({JOB: Scheduled(state="RUNNING", start_us=41, told_us=5)})
    assert (known := store.scheduled()[JOB]).state == "RUNNING"
    assert (known.end_us, known.exit_status) == (None, None)


def test_jobs_are_found_by_what_was_told(kind: Kind) -> None:
    """Who the scheduler says counts, else who the agent does; a job goes by its scheduler's name too."""
    store = kind.opened()
    deliver(store, [decoded(node := run_a_job((JOB, "slurm.8", "run.1")), [node.report()])])
    store.schedule({JOB: TOLD, "pbs.3": Scheduled(known_as="5_7"), "slurm.8": ODD})

    def found(**asked: str) -> set[str]:
        return {job.job for job in list_jobs(store, limit=9, **asked).items}

    assert found(user="ada") == {JOB}
    assert found(user="root") == set()
    assert found(user="bob") == {"run.1"}
    assert found(user=ODD.user) == {"slurm.8"}
    assert found(account="chem") == {JOB}
    assert found(partition=TOLD.partition) == found(partition=TOLD.partition, account="chem") == {JOB}
    assert found(partition="none") == found(partition=TOLD.partition, user="bob") == set()
    assert found(account="none") == found(account="chem", user="bob") == set()
    assert store.jobs_known_as("5_7") == ["pbs.3", JOB]
    assert store.jobs_known_as(ODD.known_as) == ["slurm.8"]
    assert get_job(store, "slurm.5_7") == get_job(store, JOB)
    with pytest.raises(UnknownNameError, match=r"'pbs\.5_7'"):
        get_job(store, "pbs.5_7")


def test_jobs_are_found_by_what_they_are_called(kind: Kind) -> None:
    """By the name that is shown; a pod goes by its name as long as no other one has had it."""
    store = kind.opened()
    one, two, other = (f"k8s.{n}a1b2c3d-1111-2222-3333-444455556666" for n in range(3))
    node = SimulatedNode(name="n1", boot=bytes(16))
    begins = [Load(one, cpu_us=1_000, name="prod/web-0"), Load(other, cpu_us=1_000, name="prod/web-1")]
    node.begin([*begins, Load(JOB, cpu_us=1_000, name="prod/web-0")])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    store.schedule({JOB: TOLD})

    def found(**asked: str) -> set[str]:
        return {job.job for job in list_jobs(store, limit=9, **asked).items}

    assert found(name="prod/web-0") == {one}
    assert found(name="sort") == {JOB}, "its scheduler's word counts"
    assert found(name="sort", user="bob") == found(name="prod") == set()
    assert get_job(store, "k8s.prod/web-0") == get_job(store, one)
    with pytest.raises(UnknownNameError, match=r"'docker\.prod/web-0'"):
        get_job(store, "docker.prod/web-0")
    node.begin([begins[1], Load(two, cpu_us=1_000, name="prod/web-0")])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    both = rf"one that is called so, such as '{two}' \(running\), '{one}' \(ended\)"
    with pytest.raises(UnknownNameError, match=both):
        get_job(store, "k8s.prod/web-0")
    assert get_job(store, "k8s.prod/web-1").job == other


def test_a_file_of_facts_of_the_version_before_is_brought_up(tmp_path: object) -> None:
    """Facts beside a VictoriaMetrics that were kept without schedulers' keep all they had."""
    path = f"{tmp_path}/facts"
    facts = SqliteFacts(path)
    books = facts.books
    facts._connection.executescript(FACTS_3 + "DROP TABLE scheduled; PRAGMA user_version = 2;")
    facts.close()
    facts = SqliteFacts(path)
    assert facts.books == books
    facts.schedule({JOB: TOLD})
    assert facts.scheduled() == {JOB: TOLD}
    assert "scheduled_by_known_as" in TABLE
    facts.close()
