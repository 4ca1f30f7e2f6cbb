"""What was drawn while no Report came is in the ± of those who were there."""

from dataclasses import replace

import numpy as np

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.holes import with_holes
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

_TICKS = 3
_BOTH = [Load("slurm.1", cpu_us=600_000), Load("slurm.2", cpu_us=200_000)]


def _sent(*loads: list[Load]) -> list[Decoded]:
    """Return Reports of a node, one of each of its loads."""
    node = SimulatedNode()
    reports = []
    for own in loads:
        node.begin(own)
        for _ in range(_TICKS):
            node.tick()
        reports.append(node.report())
    return decoded(node, reports)


def _known(sent: list[Decoded], systematic_uj: int = 0) -> Books:
    """Book Reports; each row is known to as much."""
    books = book([one.readings for one in sent])
    return replace(books, systematic_uj=np.full(len(books.account), systematic_uj, dtype=np.int64))


def _by_account(books: Books, values: np.ndarray) -> dict[str, int]:
    found: dict[str, int] = {}
    for account, uj in zip(books.account, values.tolist(), strict=True):
        found[account] = found.get(account, 0) + int(uj)
    return found


def _added(sent: list[Decoded], systematic_uj: int = 0) -> dict[str, int]:
    """Return by how much each account's ± grows."""
    books = _known(sent, systematic_uj)
    holes = with_holes(books, [one.readings for one in sent], [one.start for one in sent])
    grown = _by_account(books, holes.systematic_uj - books.systematic_uj)
    return {account: uj for account, uj in grown.items() if uj}


def _drawn(sent: list[Decoded]) -> dict[str, int]:
    books = _known(sent)
    return _by_account(books, books.active_uj.sum(axis=1) + books.idle_uj.sum(axis=1))


def test_reports_that_meet_leave_nothing_out() -> None:
    """Where no Report is missing no ± grows."""
    assert _added(_sent(_BOTH, _BOTH, _BOTH)) == {}


def test_what_a_lost_report_had_is_in_the_error_of_its_jobs() -> None:
    """Jobs that go on alike err by what the lost Report would have given them, and nobody else does."""
    sent = _sent(_BOTH, _BOTH, _BOTH, _BOTH)
    found, lost = _added([sent[0], *sent[2:]]), _drawn(sent[1:2])
    assert found.keys() == {"job:slurm.1", "job:slurm.2"}
    for account, uj in found.items():
        assert abs(uj - lost[account]) <= lost[account] / 20


def test_in_whatever_order_reports_stand_the_holes_are_the_same() -> None:
    """A wall clock that is set puts Reports in another order, and moves no hole."""
    sent = _sent(_BOTH, _BOTH, _BOTH, _BOTH)
    assert _added([sent[3], sent[0], sent[2]]) == _added([sent[0], sent[2], sent[3]])


def test_who_began_in_a_hole_may_have_had_all_of_it() -> None:
    """A job that is on one side only errs by as much as it drew there in as long."""
    sent = _sent(_BOTH[:1], _BOTH, _BOTH)
    found, after = _added([sent[0], sent[2]]), _drawn(sent[2:])
    assert abs(found["job:slurm.2"] - after["job:slurm.2"]) <= 1


def test_another_boot_is_no_hole() -> None:
    """Between two boots of a node no job lives on."""
    sent = _sent(_BOTH, _BOTH, _BOTH)
    assert _added([sent[0], replace(sent[2], boot=bytes([1] * 16))]) == {}


def test_what_is_small_beside_what_is_not_known_adds_nothing() -> None:
    """A hole makes figures too low only: one that is known badly is within its ± as it is."""
    sent = _sent(_BOTH, _BOTH, _BOTH, _BOTH)
    assert _added([sent[0], *sent[2:]], systematic_uj=1 << 50) == {}
    some = _added([sent[0], *sent[2:]], systematic_uj=1_000_000)
    assert 0 < some["job:slurm.1"] < _added([sent[0], *sent[2:]])["job:slurm.1"]
