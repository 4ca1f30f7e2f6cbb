"""Power over time: steps of any length add up to the books, to the microjoule."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.queries.errors import BadValueError, UnknownNameError
from joulebook.collector.queries.power import Power, get_power
from tests.simulated.cluster import JOB, Cluster, cluster
from tests.simulated.delivery import energy_uj
from tests.simulated.node import WALL_US

BEGIN_US, END_US = WALL_US - 60_000_000, WALL_US + 120_000_000
BOOKS = cluster()


def power(
    books: Cluster, from_us: int = BEGIN_US, to_us: int = END_US, step_us: int | None = None, limit: int = 100
) -> Power:
    return get_power(books.store, node=None, from_us=from_us, to_us=to_us, step_us=step_us, limit=limit)


@pytest.mark.parametrize("step_us", [1_000_000, 7_000_000, 10_000_000, 3_333_333, 1_000_000_000])
def test_steps_add_up_to_the_books(books: Cluster, step_us: int) -> None:
    """Over all that was booked, each account's steps are what the ledger holds."""
    found = power(books, step_us=step_us)
    assert {a.account: sum(a.energy_uj) for a in found.accounts} == {
        a.account: energy_uj(books.store, a.account) for a in found.accounts
    }
    assert sum(sum(a.energy_uj) for a in found.accounts) == books.measured_uj
    assert len(found.times_s) == len(found.rest_uj) == len(found.accounts[0].energy_uj)


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(BEGIN_US + 1, END_US - 1), min_size=1, max_size=4, unique=True),
    step_us=st.integers(100_000, 90_000_000),
)
def test_ranges_that_meet_add_up(cuts: list[int], step_us: int) -> None:
    """Wherever a range is cut in parts, and into whatever steps, nothing is lost or counted twice."""
    edges = [BEGIN_US, *sorted(cuts), END_US]
    parts = [power(BOOKS, a, b, step_us) for a, b in pairwise(edges)]
    assert sum(sum(map(sum, (a.energy_uj for a in part.accounts))) for part in parts) == BOOKS.measured_uj


def test_energy_is_spread_evenly_over_a_report(books: Cluster) -> None:
    """Half of a Report's time holds half of what was booked for it, rounded by less than a µJ a row."""
    whole = power(books, WALL_US, WALL_US + 10_000_000, 10_000_000)
    halves = power(books, WALL_US, WALL_US + 10_000_000, 5_000_000)
    for one, two in zip(whole.accounts, halves.accounts, strict=True):
        assert one.account == two.account
        assert abs(two.energy_uj[0] - two.energy_uj[1]) <= 4
        assert sum(two.energy_uj) == sum(one.energy_uj)


def test_jobs_beyond_the_limit_are_the_rest(books: Cluster) -> None:
    """The largest jobs and all that are no jobs are named, other jobs summed, and nothing is left out."""
    every, one = power(books), power(books, limit=1)
    smaller = [a for a in every.accounts if a.account.startswith("job:")][1:]
    assert one.accounts == [a for a in every.accounts if a not in smaller]
    assert one.rest_uj == [sum(each) for each in zip(*(a.energy_uj for a in smaller), strict=True)]
    assert set(every.rest_uj) == {0}


def test_node_alone(books: Cluster) -> None:
    """Of one node there is what its meters delivered."""
    for node in books.nodes:
        found = get_power(
            books.store, node=node.name, from_us=BEGIN_US, to_us=END_US, step_us=None, limit=100
        )
        assert sum(sum(a.energy_uj) for a in found.accounts) == node.measured_uj
        assert f"job:{JOB}" in {a.account for a in found.accounts}


def test_times_when_nothing_was_booked_are_0(books: Cluster) -> None:
    """A range before everything has its steps and no account."""
    found = power(books, 0, 10_000_000, 1_000_000)
    assert (found.accounts, found.rest_uj) == ([], [0] * 10)


def test_too_many_steps_are_refused(books: Cluster) -> None:
    """A step that is too short for its range is named with the shortest that is not."""
    with pytest.raises(BadValueError, match=r"step '0.001s': expected at least 0.016 s"):
        power(books, step_us=1000)


def test_unknown_node_is_refused(books: Cluster) -> None:
    """A node that is not in the books is refused, and the nearest name suggested."""
    with pytest.raises(UnknownNameError, match="did you mean 'n1'"):
        get_power(books.store, node="n11", from_us=0, to_us=1, step_us=None, limit=1)
