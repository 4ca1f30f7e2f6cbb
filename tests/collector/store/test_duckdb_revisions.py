"""What the embedded store keeps of revisions is never forgotten, goes with its Reports, and is checked."""

from pathlib import Path

from joulebook.collector.check.books import embedded
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.duckdb.rows import wrong_rows
from tests.collector.store.test_conformance_revisions import (
    JOB,
    a_job_on_two_nodes,
    committer_of,
    revision,
)
from tests.simulated.delivery import NOW_US, deliver
from tests.simulated.node import WALL_US


def _revised(path: Path) -> DuckDBStore:
    """Return a store with a job that two late Reports revised."""
    store = DuckDBStore(path)
    first, second = a_job_on_two_nodes()
    deliver(store, [first, second[3:]])
    committer_of(store).apply(second[:2])
    assert revision(store) == ("ended", 3)
    return store


def test_retention_keeps_it(tmp_path: Path) -> None:
    """When readings, minutes and hours are forgotten, the figure is still known to have changed."""
    store = _revised(tmp_path / "books")
    for _ in Keeper(store, Retention(1, 1, 1)).steps(NOW_US + 10 * 86_400_000_000):
        pass
    assert store.forgotten_us > WALL_US
    assert revision(store) == ("ended", 3)
    assert embedded(store) == []
    store.close()


def test_a_store_taken_back_loses_those_of_dropped_reports(tmp_path: Path) -> None:
    """As if the Reports that ended later had never come, and so nothing that they raised."""
    path = tmp_path / "books"
    _revised(path).close()
    assert rewind(str(path), WALL_US + 1_500_000) == 4
    store = DuckDBStore(path)
    assert revision(store) == ("running", 2)
    assert embedded(store) == []
    store.close()


def test_a_revision_by_nothing_and_one_twice_are_found(tmp_path: Path) -> None:
    """A raise that belongs to no row of the ledger is told of, and one that is there twice."""
    store = _revised(tmp_path / "books")
    store._connection.execute("INSERT INTO revisions SELECT account_id, 77, 0 FROM revisions LIMIT 1")
    store._connection.execute("INSERT INTO revisions SELECT * FROM revisions ORDER BY interval_id LIMIT 1")
    found = [(one.check, one.found) for one in wrong_rows(store)]
    assert found == [
        ("orphan", "1 of revision, the first is 77"),
        ("twice", f"1 of revision, the first is {(4, *_account(store), 2)}"),
    ]
    store.close()


def _account(store: DuckDBStore) -> tuple[int]:
    ((number,),) = store._rows("SELECT account_id FROM accounts WHERE account = ?", [f"job:{JOB}"])
    return (number,)
