"""Jobs are told whole, over all of their nodes, and listed a page at a time."""

import pytest

from joulebook.collector.ledger.uncertainty import plus_minus_uj
from joulebook.collector.queries.errors import BadValueError, UnknownNameError
from joulebook.collector.queries.jobs import get_job, list_jobs
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster
from tests.simulated.delivery import EVER, decoded, deliver, energy_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode


def test_running_job_over_two_nodes(books: Cluster) -> None:
    """A job on two nodes is one job with both nodes' energy."""
    job = get_job(books.store, JOB)
    assert (job.user, job.name, job.source) == ("ada", "train", "simulated")
    assert (job.state, job.nodes, job.end_us, job.exit_status) == ("running", ["n1", "n2"], None, None)
    assert job.start_us == WALL_US
    assert job.duration_us == books.now_us - WALL_US
    assert job.energy_uj == energy_uj(books.store, f"job:{JOB}") == job.active_uj + job.idle_uj
    rows = [row for row in books.store.accounts(EVER) if row.account == f"job:{JOB}"]
    assert job.plus_minus_uj == plus_minus_uj(
        sum(row.systematic_uj for row in rows), sum(row.variance_uj2 for row in rows)
    )


def test_coverage_of_a_job_with_a_gap(books: Cluster) -> None:
    """A quarter of one node's time and none of the other's was not watched: an eighth is missing."""
    coverage = get_job(books.store, JOB).coverage
    assert coverage.missing == pytest.approx(1 / 8)
    assert coverage.measured == pytest.approx(7 / 8)
    assert coverage.modelled == 0


def test_power_is_the_sum_of_the_nodes(books: Cluster) -> None:
    """Average power is energy over the time that the job was watched, node by node."""
    rows = [row for row in books.store.accounts(EVER) if row.account == f"job:{JOB}"]
    per_node = [(sum(row.active_uj) + sum(row.idle_uj)) * 1000 // row.observed_us for row in rows]
    assert len(per_node) == 2
    assert get_job(books.store, JOB).average_power_mw == sum(per_node)


def test_active_energy_is_near_the_truth(books: Cluster) -> None:
    """A job's active CPU energy is what it truly caused, but for the Report that was lost."""
    job = get_job(books.store, ENDED_JOB)
    caused_uj = books.nodes[0].truth_uj[ENDED_JOB] * 2 // 3
    # What the node meter shows beyond the CPUs follows the load: a quarter of it.
    assert job.active_by_domain.cpu == pytest.approx(caused_uj, rel=1e-6)


def test_ended_job(books: Cluster) -> None:
    """A job that ended has its end and its exit status."""
    job = get_job(books.store, ENDED_JOB)
    assert (job.state, job.end_us, job.exit_status) == ("ended", books.ended_us, 3)
    assert job.duration_us == books.ended_us - WALL_US


@pytest.mark.parametrize("batches", [1, 2])
def test_name_told_later_is_added(books: Cluster, batches: int) -> None:
    """A job that was seen before its name was known gets it, and keeps what was said first."""
    node = SimulatedNode(name="n3", boot=bytes(16))
    reports = []
    for name, user in (("", "ada"), ("late", "bob"), ("later", "bob")):
        node.begin([Load("slurm.7", name=name, user=user)])
        node.tick()
        reports.append(node.report())
    told = decoded(node, reports)
    deliver(books.store, [told] if batches == 1 else [[each] for each in told])
    job = get_job(books.store, "slurm.7")
    assert (job.name, job.user) == ("late", "ada")


def test_job_that_vanished_has_ended(books: Cluster) -> None:
    """A job that no layout names any more has ended, though nobody said so, with no exit status."""
    for node in books.nodes:
        node.begin([])
        node.tick()
        deliver(books.store, [decoded(node, [node.report()])])
    job = get_job(books.store, JOB)
    assert (job.state, job.end_us, job.exit_status) == ("ended", books.now_us, None)


def test_unknown_job_is_named_with_the_nearest(books: Cluster) -> None:
    """A job that is not in the books is refused, and the nearest name suggested."""
    with pytest.raises(UnknownNameError, match=r"job 'run.abd': .* did you mean 'run.abc'\?"):
        get_job(books.store, "run.abd")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [JOB, ENDED_JOB]),
        ({"node": "n2"}, [JOB]),
        ({"node": "n3"}, []),
        ({"user": "bob"}, [ENDED_JOB]),
        ({"state": "running"}, [JOB]),
        ({"state": "ended"}, [ENDED_JOB]),
        ({"user": "ada", "state": "ended"}, []),
    ],
)
def test_filters(books: Cluster, filters: dict[str, str], expected: list[str]) -> None:
    """Only jobs that pass every filter are listed."""
    found = list_jobs(books.store, limit=100, **filters)
    assert [job.job for job in found.items] == expected
    assert found.next_cursor is None


def test_listed_job_is_the_job(books: Cluster) -> None:
    """A list and a question about one job give the same figures."""
    assert list_jobs(books.store, limit=100).items == [
        get_job(books.store, JOB),
        get_job(books.store, ENDED_JOB),
    ]


def test_pages_follow_each_other(books: Cluster) -> None:
    """Pages of one job each are the whole list, in its order."""
    first = list_jobs(books.store, limit=1)
    assert first.next_cursor is not None
    second = list_jobs(books.store, limit=1, cursor=first.next_cursor)
    assert [job.job for job in (*first.items, *second.items)] == [JOB, ENDED_JOB]
    assert second.next_cursor is None


def test_unknown_state_is_refused(books: Cluster) -> None:
    """A state that no job can be in is refused with those that there are."""
    with pytest.raises(BadValueError, match="state 'done': expected running or ended"):
        list_jobs(books.store, state="done", limit=1)
