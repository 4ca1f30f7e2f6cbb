"""What was drawn while no Report came is in the ± of those who were there before and after."""

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.ledger.unseen import with_unseen
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

_TICKS = 3


def _sent(*, loads: list[list[Load]] | None = None, container: bool = False) -> list[Readings]:
    """Return four Reports of a node, each of its loads."""
    domains = [("cpu.0", report_pb2.SOURCE_KIND_COUNTER), ("memory.0", report_pb2.SOURCE_KIND_COUNTER)]
    if container:
        domains.append(("node", report_pb2.SOURCE_KIND_AVERAGE_POWER))
    node = SimulatedNode(domains=domains)
    reports = []
    for own in loads or [[Load("slurm.1", cpu_us=600_000), Load("slurm.2", cpu_us=200_000)]] * 4:
        node.begin(own)
        for _ in range(_TICKS):
            node.tick()
        reports.append(node.report())
    return [one.readings for one in decoded(node, reports)]


def _added(sent: list[Readings]) -> dict[str, int]:
    """Return by how much each account's ± grew."""
    books = book(sent)
    found: dict[str, int] = {}
    grown = with_unseen(books, sent).systematic_uj - books.systematic_uj
    for account, uj in zip(books.account, grown.tolist(), strict=True):
        found[account] = found.get(account, 0) + uj
    return {account: uj for account, uj in found.items() if uj}


def _booked_uj(books: Books, account: str) -> int:
    rows = [i for i, name in enumerate(books.account) if name == account]
    return int(books.active_uj[rows].sum() + books.idle_uj[rows].sum())


def test_what_a_lost_report_had_is_in_the_error_of_its_jobs() -> None:
    """Jobs that go on alike err by what the lost Report would have given them, and nobody else does."""
    sent = _sent()
    assert _added(sent) == {}
    lost = book(sent[1:2])
    found = _added([sent[0], *sent[2:]])
    assert found.keys() == {"job:slurm.1", "job:slurm.2"}
    for account, uj in found.items():
        assert abs(uj - _booked_uj(lost, account)) <= 2


def test_a_container_counts_once() -> None:
    """Where a meter of the node holds the others, what it showed is what was drawn."""
    sent = _sent(container=True)
    (lost_uj,) = book(sent[1:2]).measured_uj.tolist()
    assert 0 < sum(_added([sent[0], *sent[2:]]).values()) <= lost_uj


def test_who_came_in_between_is_not_charged_with_it() -> None:
    """Only jobs that were there before and after the gap may have used what was drawn in it."""
    first, second = Load("slurm.1", cpu_us=600_000), Load("slurm.2", cpu_us=200_000)
    sent = _sent(loads=[[first], [first, second], [first, second], [first, second]])
    assert _added([sent[0], *sent[2:]]).keys() == {"job:slurm.1"}


def test_an_agent_that_began_again_says_nothing_of_what_was_before() -> None:
    """Counters of another session are others: no difference is taken between them."""
    node = SimulatedNode()
    reports = []
    for session_us in (49_000_000, 49_500_000):
        node.session_us = session_us
        node.begin([Load("slurm.1", cpu_us=600_000)])
        node.tick()
        reports.append(node.report())
        node.tick()
    assert _added([one.readings for one in decoded(node, reports)]) == {}
