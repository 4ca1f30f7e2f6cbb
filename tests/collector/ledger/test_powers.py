"""Live books split packages by what the agent learnt that a busy CPU of each job draws."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CPU
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.powers import tell_powers

_SYSTEM = report_pb2.WORKLOAD_KIND_SYSTEM
_POWERS = st.tuples(st.integers(0, 50_000), st.integers(0, 1_000_000))


def _sent(
    powers: Mapping[str, tuple[int, int]] | None,
    others_mw: int = 0,
    cpu_us: Mapping[str, int] | None = None,
    name: str = "n1",
) -> Decoded:
    """Return a Report of three ticks of a node with jobs of so much CPU time a tick and a service."""
    node = SimulatedNode(name=name, cpus=64)
    cpu_us = cpu_us or {"a": 3_000_000, "b": 3_000_000}
    loads = [Load(job, cpu_us=each) for job, each in cpu_us.items()]
    node.begin([*loads, Load("s", kind=_SYSTEM, cpu_us=100_000)])
    for _ in range(3):
        node.tick()
    report = node.report()
    if powers is not None:
        tell_powers(node.layouts, report, others_mw, powers)
    (one,) = decoded(node, [report])
    return one


def _cpu(books: Books) -> dict[str, tuple[int, int]]:
    """Return µJ of active CPU energy of each account, and the systematic error of all of it."""
    rows = zip(books.account, books.active_uj[:, CPU].tolist(), books.systematic_uj.tolist(), strict=True)
    return {account: (active, error) for account, active, error in rows}


def test_who_draws_twice_as_much_pays_twice_as_much() -> None:
    """Jobs of as much CPU time pay by their power, and services by theirs, exactly."""
    told = _cpu(book([_sent({"a": (8000, 50_000), "b": (4000, 90_000)}, 1000).readings]))
    plain = _cpu(book([_sent(None).readings]))
    total = sum(active for active, _ in told.values())
    assert total == sum(active for active, _ in plain.values())
    assert told["job:a"][0] / told["job:b"][0] == pytest.approx(2.0, rel=1e-6)
    assert told["system"][0] / told["job:b"][0] == pytest.approx(0.1 / 3 / 4, rel=1e-4)
    # What was learnt is surer than what was not, and its error is what the agent says.
    assert told["job:a"][1] < plain["job:a"][1]
    surer, unsure = (
        _cpu(book([_sent({"a": (8000, ppm), "b": (4000, 0)}, 1000).readings])) for ppm in (0, 400_000)
    )
    active_uj = unsure["job:a"][0]
    assert unsure["job:b"] == surer["job:b"]
    assert unsure["job:a"][1] > 1.96 * 0.4 * active_uj > 3 * surer["job:a"][1]


@pytest.mark.parametrize("mw", [1000, 4000, 300_000])
def test_equal_powers_are_cpu_time_to_the_microjoule(mw: int) -> None:
    """Where everybody draws alike, and where nothing is learnt yet, the split is by CPU time."""
    cpu_us = {"a": 3_111_111, "b": 1_777_777, "c": 0}
    plain = book([_sent(None, cpu_us=cpu_us).readings])
    alike = book([_sent(dict.fromkeys(cpu_us, (mw, 0)), mw, cpu_us).readings])
    assert alike.account == plain.account
    assert abs(alike.active_uj - plain.active_uj).max() <= 3
    untold = book([_sent(dict.fromkeys(cpu_us, (0, 0)), 0, cpu_us).readings])
    np.testing.assert_array_equal(untold.active_uj, plain.active_uj)
    np.testing.assert_array_equal(untold.systematic_uj, plain.systematic_uj)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), _POWERS, min_size=1),
            st.integers(0, 50_000),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(Policy),
)
def test_books_balance_whatever_is_told(
    nodes: list[tuple[dict[str, tuple[int, int]], int, bool]], policy: Policy
) -> None:
    """Whatever agents tell, nothing is lost or negative, and each Report is booked as alone, bit for bit."""
    sent = [
        _sent(powers if told else None, others, {job: 1000 * ord(job) for job in powers}, f"n{number}")
        for number, (powers, others, told) in enumerate(nodes)
    ]
    # Enough of a kind that they stand side by side, too.
    readings = [one.readings for one in sent] * 17
    books = book(readings, policy)
    assert not books.residual_uj.any()
    assert min(books.active_uj.min(), books.idle_uj.min(), books.systematic_uj.min()) >= 0
    for number, one in enumerate(readings[: len(sent)]):
        alone, rows = book([one], policy), books.report == number
        np.testing.assert_array_equal(books.active_uj[rows], alone.active_uj)
        np.testing.assert_array_equal(books.systematic_uj[rows], alone.systematic_uj)
        plain = book([_sent(None, 0, {job: 1000 * ord(job) for job in nodes[number][0]}).readings], policy)
        np.testing.assert_array_equal(alone.idle_uj.sum(axis=0), plain.idle_uj.sum(axis=0))
        np.testing.assert_array_equal(alone.active_uj.sum(axis=0), plain.active_uj.sum(axis=0))


def test_settled_books_know_nothing_of_it() -> None:
    """Settled books are the same bit for bit, whether agents told what they learnt or not."""
    told, plain = (
        settled_books([one.readings], [one.start])
        for one in (_sent({"a": (9000, 10_000), "b": (100, 10_000)}, 500), _sent(None))
    )
    assert told.account == plain.account
    for name in ("active_uj", "idle_uj", "modelled_uj", "systematic_uj", "variance_uj2"):
        np.testing.assert_array_equal(getattr(told, name), getattr(plain, name))
