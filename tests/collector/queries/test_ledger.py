"""The books answer in full, and the check of them can fail."""

import threading

import pytest

from joulebook.collector.queries.errors import UnknownNameError
from joulebook.collector.queries.ledger import Ledger, get_ledger
from tests.simulated.cluster import ENDED_JOB, JOB, Cluster
from tests.simulated.delivery import EVER, decoded, deliver
from tests.simulated.node import WALL_US, SimulatedNode


def _ledger(books: Cluster, node: str | None = None, from_us: int = 0) -> Ledger:
    return get_ledger(books.store, node=node, from_us=from_us, to_us=EVER.to_us)


def _broken(books: Cluster, *statements: str) -> None:
    for statement in statements:
        books.store._connection.execute(statement)


def test_measured_is_what_the_meters_delivered(books: Cluster) -> None:
    """All that both nodes' meters showed is in the answer, the lost Report's energy too."""
    assert _ledger(books).measured_uj == books.measured_uj


@pytest.mark.parametrize("node", [None, "n1", "n2"])
def test_books_balance(books: Cluster, node: str | None) -> None:
    """Accounts add up to what was measured, for each node and for all."""
    ledger = _ledger(books, node)
    assert ledger.residual_uj == 0
    assert ledger.measured_uj == sum(account.energy_uj for account in ledger.accounts) > 0


def test_nodes_add_up(books: Cluster) -> None:
    """Measured energy of all nodes is the sum over nodes."""
    parts = [_ledger(books, node).measured_uj for node in ("n1", "n2")]
    assert _ledger(books).measured_uj == sum(parts)
    assert parts == [node.measured_uj for node in books.nodes]


@pytest.mark.parametrize("from_s", [0, 5, 10, 15, 25, 30])
def test_any_range_balances(books: Cluster, from_s: int) -> None:
    """Wherever a range begins, its books balance."""
    assert _ledger(books, from_us=WALL_US + from_s * 1_000_000).residual_uj == 0


def test_accounts_say_where_energy_went(books: Cluster) -> None:
    """Every account is there with parts that add up to its whole."""
    accounts = {account.account: account for account in _ledger(books).accounts}
    assert set(accounts) == {f"job:{JOB}", f"job:{ENDED_JOB}", "system", "idle", "unattributed"}
    assert accounts["unattributed"].energy_uj == books.unattributed_uj
    for account in accounts.values():
        classes = account.by_domain
        parts = (classes.cpu, classes.memory, classes.gpu, classes.storage, classes.network, classes.platform)
        assert account.energy_uj == account.active_uj + account.idle_uj == sum(parts)
    assert accounts[f"job:{JOB}"].plus_minus_uj > 0


def test_largest_accounts_come_first(books: Cluster) -> None:
    """Accounts are in falling order of energy."""
    energies = [account.energy_uj for account in _ledger(books).accounts]
    assert energies == sorted(energies, reverse=True)


def test_coverage_of_counters_is_measured(books: Cluster) -> None:
    """What counters told is measured, the gap included: they ran on."""
    coverage = _ledger(books).coverage
    assert (coverage.measured, coverage.modelled, coverage.missing) == (1.0, 0.0, 0.0)


def test_range_without_reports_is_missing(books: Cluster) -> None:
    """Nothing is known of a range in which nothing ended."""
    ledger = get_ledger(books.store, node=None, from_us=0, to_us=1)
    assert (ledger.measured_uj, ledger.accounts, ledger.coverage.missing) == (0, [], 1.0)


# In which all was booked, and before which no day ends.
_HOUR = WALL_US // 3_600_000_000 * 3_600_000_000


@pytest.mark.parametrize(
    ("table", "node", "from_us"),
    [
        ("ledger", None, 0),
        ("ledger", "n2", 0),
        ("fleet_days", None, 0),
        ("fleet_hours", None, _HOUR),
        ("fleet_minutes", None, WALL_US - 20_000_000),
        ("node_days", "n1", 0),
        ("node_hours", "n1", _HOUR),
        ("gap_ledger", None, 0),
        ("gap_ledger", "n1", 0),
    ],
)
def test_microjoule_less_in_the_books_is_found(
    books: Cluster, table: str, node: str | None, from_us: int
) -> None:
    """One µJ lost from whatever answers is the residual: the measured side does not come from there."""
    _broken(
        books,
        f"UPDATE {table} SET cpu_active_uj = cpu_active_uj - 1 WHERE rowid = "
        f"(SELECT max(rowid) FROM {table} WHERE cpu_active_uj > 0)",
    )
    assert _ledger(books, node, from_us).residual_uj == 1


def test_report_booked_twice_is_found(books: Cluster) -> None:
    """A Report's rows that are in the ledger twice make the residual its energy, below 0."""
    _broken(
        books,
        "INSERT INTO ledger SELECT * FROM ledger WHERE interval_id = (SELECT max(interval_id) FROM ledger)",
    )
    ledger = _ledger(books)
    assert ledger.residual_uj < 0
    assert ledger.measured_uj == books.measured_uj


def test_readings_stored_twice_are_found(books: Cluster) -> None:
    """Raw readings that are there twice without being booked twice make the residual their energy."""
    _broken(
        books,
        "INSERT INTO intervals SELECT * REPLACE (1000 AS interval_id) FROM intervals WHERE interval_id = 0",
    )
    assert _ledger(books).residual_uj > 0


def test_unknown_node_is_named_with_the_nearest(books: Cluster) -> None:
    """A node that is not in the books is refused, and the nearest name suggested."""
    with pytest.raises(UnknownNameError, match=r"node 'n11': expected .* did you mean 'n1'\?"):
        _ledger(books, "n11")


def test_commits_beside_a_question_do_not_show(books: Cluster) -> None:
    """Books that grow while they are read balance in every answer: both sides see one state."""
    node = SimulatedNode(name="n3", boot=bytes(16))
    node.begin([])
    batches = []
    for _ in range(200):
        node.tick()
        batches.append(decoded(node, [node.report()]))
    writer = threading.Thread(target=deliver, args=(books.store, batches))
    writer.start()
    residuals = []
    while writer.is_alive():
        residuals.append(_ledger(books).residual_uj)
    writer.join()
    assert set(residuals) <= {0}
    assert _ledger(books).measured_uj == books.measured_uj + node.measured_uj
