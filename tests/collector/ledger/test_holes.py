"""A Report that never came is known by the counters around it, and in the ± of who was there."""

import numpy as np

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.holes import allow_for, holes_of
from joulebook.collector.ledger.stack import Readings
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode


def _sent(reports: int) -> list[Readings]:
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=3_000_000), Load("slurm.2", cpu_us=1_000_000)])
    sent = []
    for _ in range(reports):
        for _ in range(5):
            node.tick()
        sent.append(node.report())
    return [one.readings for one in decoded(node, sent)]


def test_reports_that_meet_have_no_hole() -> None:
    """Nothing is missing, and nothing is allowed for."""
    sent = _sent(4)
    assert holes_of(sent) == []
    books = book(sent)
    np.testing.assert_array_equal(allow_for(books, []).systematic_uj, books.systematic_uj)


def test_what_is_missing_is_what_counters_ran_on_by() -> None:
    """The hole holds the lost Report's energy by class; both sides' ± grow by it, and nothing else does."""
    sent = _sent(4)
    lost = book(sent[1:2])
    kept = [sent[0], *sent[2:]]
    (hole,) = holes_of(kept)
    assert hole.after == 1
    np.testing.assert_array_equal(hole.energy_uj, (lost.active_uj + lost.idle_uj).sum(axis=0))
    books = book(kept)
    wider = allow_for(books, [hole])
    grown = wider.systematic_uj - books.systematic_uj
    assert abs(int(grown.sum()) - int(hole.energy_uj.sum())) <= len(grown)
    assert set(books.report[grown > 0].tolist()) == {0, 1}
    np.testing.assert_array_equal(wider.active_uj, books.active_uj)
