"""After a transaction failed, the store goes on as if it had never begun."""

from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.store.duckdb import DuckDBStore, files
from joulebook.collector.store.duckdb.added_up import wrong_sums
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.duckdb.lasting import LastingStore
from joulebook.collector.store.duckdb.rewind import rewind
from joulebook.collector.store.protocol import StoreError
from tests.collector.store.histories import history
from tests.simulated.delivery import EVER, NOW_US, decoded, deliver, total_uj
from tests.simulated.node import WALL_US, Load, SimulatedNode


class _Breaking:
    """A connection on which statements fail from one on, but for the rollback."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, good: int) -> None:
        self._connection, self.good = connection, good

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: str, *parameters: Any) -> Any:
        """Execute a statement, or fail."""
        self.good -= 1
        if self.good < 0 and query != "ROLLBACK":
            raise duckdb.IOException("No space left on device")
        return self._connection.execute(query, *parameters)


def test_whichever_statement_fails_and_all_that_follow(tmp_path: Path) -> None:
    """A commit fails in order at any of its statements, those that roll up included, and leaves no trace."""
    store = DuckDBStore(tmp_path / "books")
    node = SimulatedNode()
    # An hour and more passes between two Reports, so that every commit rolls up all there is.
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    committer = Committer(store, IngestStats())
    connection, failed = store._connection, 0
    while True:
        node.tick(4_000_000_000)
        node.tick(10_000_000)
        batch = decoded(node, [node.report()])
        breaking = cast(duckdb.DuckDBPyConnection, _Breaking(connection, good=failed))
        store._connection = store._rolls._connection = breaking
        try:
            committer.apply(batch)
            break
        except StoreError:
            failed += 1
        finally:
            store._connection = store._rolls._connection = connection
        assert committer.apply(batch).new == [0]
    # BEGIN, COMMIT, and the tables and sums between them.
    assert failed > 25
    assert total_uj(store) == node.measured_uj
    assert residuals_uj(store, EVER) == {}
    with store.snapshot() as view:
        assert list(wrong_sums(view)) == []
    store.close()


def test_what_is_durable_is_known_whatever_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours after the transaction's end does not have its Reports booked twice."""
    store = DuckDBStore(":memory:")
    node = SimulatedNode()
    node.begin([])
    committer = Committer(store, IngestStats())
    node.tick()
    committer.apply(decoded(node, [node.report()]))
    node.tick()
    batch = decoded(node, [node.report()])

    def fault(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(committer, "_booked", fault)
        with pytest.raises(ZeroDivisionError):
            committer.apply(batch)
    assert committer.apply(batch).duplicate == [0]
    assert total_uj(store) == node.measured_uj
    store.close()


def test_a_job_after_a_rewind_has_a_number_of_its_own(tmp_path: Path) -> None:
    """Jobs that a rewound store no longer names leave their numbers, which name nobody else's user."""
    path = str(tmp_path / "books")
    store = DuckDBStore(path)
    early, late = SimulatedNode("n1"), SimulatedNode("n2", boot=b"c" * 16)
    late.wall_us += 3_600_000_000
    for node, job in ((late, "slurm.gone"), (early, "slurm.kept")):
        node.begin([Load(job, cpu_us=1_000_000)])
        node.tick()
        deliver(store, [decoded(node, [node.report()])])
    store.close()
    assert rewind(path, WALL_US + 1_800_000_000) == 1
    store = DuckDBStore(path)
    for load in (Load("slurm.new", cpu_us=1_000_000), Load("slurm.new", cpu_us=1_000_000, user="ada")):
        early.begin([load])
        early.tick()
        deliver(store, [decoded(early, [early.report()])])
    assert store._rows("SELECT job, user_name FROM jobs ORDER BY job") == [
        ("slurm.kept", ""),
        ("slurm.new", "ada"),
    ]
    assert store._rows("SELECT count(DISTINCT job_number) FROM jobs") == [(2,)]
    store.close()


@pytest.mark.parametrize("done", ["wrote readings", "wrote minutes", "synced", "renamed", "synced names"])
def test_files_that_are_being_written_outlast_an_opening_again(tmp_path: Path, done: str) -> None:
    """Wherever housekeeping is when the file is opened again, it goes on and loses nothing."""
    store = LastingStore(tmp_path / "books")
    node = SimulatedNode()
    Committer(store, IngestStats()).apply(history(node))
    ((count,),) = store._rows("SELECT count(*) FROM intervals WHERE NOT is_gap")
    steps = Keeper(store, settle_us=0).steps(NOW_US + 4 * files.HOUR_US)
    assert done in steps
    store._given_up = True
    store.tails()
    assert "moved" in list(steps)
    assert store._rows("SELECT sum(reports) FROM blocks")[0][0] == count - 1
    assert residuals_uj(store, EVER) == {}
    assert sum(1 for path in (tmp_path / "books.blocks").glob("*/*/*")) == 3
    store.close()


def test_a_directory_is_durable_before_its_files_are_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new directory could not be synced, it is synced when its file is written again."""
    store = DuckDBStore(tmp_path / "books")
    deliver(store, [history(SimulatedNode())])
    keeper = Keeper(store, settle_us=0)
    synced: list[Path] = []

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", full)
        with pytest.raises(OSError, match="No space left"):
            list(keeper.steps(NOW_US + 4 * files.HOUR_US))
    really = files.sync

    def noted(path: Path) -> None:
        really(path)
        synced.append(path)

    monkeypatch.setattr(files, "sync", noted)
    assert "moved" in list(keeper.steps(NOW_US + 4 * files.HOUR_US))
    assert store.files is not None
    assert {store.files.directory / kind for kind in files.KINDS} <= set(synced)
    store.close()
