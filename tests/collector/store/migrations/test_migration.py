"""A file of an older version is brought up to this one with its books as they were, or left as it was."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.copy import FILE
from joulebook.collector.store.duckdb.migrations import migration
from joulebook.collector.store.duckdb.migrations.steps import Step, released
from joulebook.collector.store.protocol import StoreError
from tests.simulated.delivery import EVER, books_of, decoded, deliver
from tests.simulated.node import Load, SimulatedNode

# Tables as the first version made them, and rows that it wrote.
VERSION_1 = Path(__file__).with_name("version_1.sql")
# Of what was booked before version 15 no tier of disks is known.
BOOKS = {key: tuple(own) for key, own in json.loads(VERSION_1.with_suffix(".books.json").read_text()).items()}
Apply = Callable[[duckdb.DuckDBPyConnection, Path], object]


def _old(directory: Path) -> Path:
    path = directory / "it's books.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(VERSION_1.read_text())
    return path


def _steps(*more: Apply) -> Sequence[Step]:
    """Return the first step, and others after it."""
    first = released()[0]
    return [first, *(Step(number, "new", apply) for number, apply in enumerate(more, start=2))]


def _rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all that a file holds, by table."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {n: connection.execute(f'SELECT * FROM "{n}" ORDER BY ALL').fetchall() for n in names}


def _migrated(path: Path, steps: Sequence[Step]) -> Path | None:
    with duckdb.connect(str(path)) as connection:
        return migration.prepare(connection, path, steps)


def test_the_first_version_becomes_the_newest(tmp_path: Path) -> None:
    """A file that joulebook 0.1.0 wrote has the same books under this version, balances, and goes on."""
    path = _old(tmp_path)
    before = _rows(path)
    store = DuckDBStore(path)
    assert {" ".join(key): own for key, own in books_of(store).items()} == BOOKS
    assert residuals_uj(store, EVER) == {}
    node = SimulatedNode(name="n4")
    node.begin([Load("slurm.9", cpu_us=1_000_000)])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    assert residuals_uj(store, EVER) == {}
    store.close()
    if len(released()) > 1:
        (backup,) = tmp_path.glob("*.version-1.*")
        assert _rows(backup / FILE) == before
    again = DuckDBStore(path)
    assert {" ".join(key): own for key, own in books_of(again).items() if key[0] != "n4"} == BOOKS
    again.close()


def test_steps_run_in_order_after_a_backup(tmp_path: Path) -> None:
    """Each step finds what the one before made; the backup holds every row as it was, and the file opens."""
    path = _old(tmp_path)
    before = _rows(path)
    seen = []

    def second(connection: duckdb.DuckDBPyConnection, place: Path) -> None:
        seen.append([p.name for p in tmp_path.iterdir() if ".version-1." in p.name])
        connection.execute("ALTER TABLE nodes ADD COLUMN rack VARCHAR DEFAULT 'r1'")
        assert place == path

    def third(connection: duckdb.DuckDBPyConnection, _place: Path) -> None:
        connection.execute("UPDATE nodes SET rack = rack || node")

    steps = _steps(second, third)
    backup = _migrated(path, steps)
    assert backup is not None
    assert seen == [[backup.name]]
    assert _rows(backup / FILE) == before
    after = _rows(path)
    assert [row[2] for row in after["nodes"]] == ["r1n1", "r1n2", "r1n3"]
    assert after["schema_version"] == [(3,)]
    assert {t: r for t, r in after.items() if t not in ("nodes", "schema_version")} == {
        t: r for t, r in before.items() if t not in ("nodes", "schema_version")
    }
    # There is nothing more to do, and so nothing to back up.
    assert _migrated(path, steps) is None
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """What the steps before it did is undone, the error says what to do, and no backup stays."""
    path = _old(tmp_path)
    before = _rows(path)

    def second(connection: duckdb.DuckDBPyConnection, _place: Path) -> None:
        connection.execute("DELETE FROM ledger")
        connection.execute("CREATE TABLE more (x INTEGER)")

    def third(connection: duckdb.DuckDBPyConnection, _place: Path) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    expected = "version 1 could not be brought to version 3 .*nowhere.*the file is as it was"
    for _ in range(2):
        with pytest.raises(StoreError, match=expected):
            _migrated(path, _steps(second, third))
        assert _rows(path) == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    store = DuckDBStore(path)
    assert residuals_uj(store, EVER) == {}
    store.close()


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    """It is not touched, and the message says which versions and what to do."""
    path = tmp_path / "books"
    DuckDBStore(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    before = path.read_bytes()
    expected = f"version 99, this joulebook knows them up to {len(released())}; run the newer joulebook"
    with pytest.raises(StoreError, match=expected):
        DuckDBStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE TABLE nodes (x INTEGER)", "none of joulebook's; name another file"),
        ("CREATE TABLE schema_version (version INTEGER)", r"schema_version holds \[\], expected one number"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, statement: str, expected: str) -> None:
    """A DuckDB file that joulebook did not make is left alone."""
    path = tmp_path / "books"
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    with pytest.raises(StoreError, match=expected):
        DuckDBStore(path)


def test_no_room_is_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk cannot take the backup, the file is as it was, and the message says how much that is."""
    path = _old(tmp_path)
    before = _rows(path)
    usage = type("Usage", (), {"free": 5 << 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    with pytest.raises(StoreError, match=r"takes \d+ MiB beside it, and 5 MiB are free; make room"):
        _migrated(path, _steps(lambda connection, _path: connection.execute("DROP TABLE ledger")))
    assert _rows(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_command_says_and_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--check names steps, room and time and does nothing; without it they are done and the backup named."""
    path = _old(tmp_path)
    before = _rows(path)
    steps = _steps(lambda connection, _path: connection.execute("CREATE TABLE more (x INTEGER)"))
    monkeypatch.setattr(migration, "released", lambda: steps)
    command = ["store", "migrate", "--store", str(path)]
    checked = CliRunner().invoke(main, [*command, "--check"])
    assert checked.exit_code == 1
    assert "tables of version 1 become version 2; about 0 s" in checked.output
    assert "MiB are free\n  0002 new\n" in checked.output
    assert _rows(path) == before
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (backup,) = (p for p in tmp_path.iterdir() if p.is_dir())
    assert f"the backup is in {backup}" in done.output
    assert _rows(backup / FILE) == before
    assert "more" in _rows(path)
    again = CliRunner().invoke(main, [*command, "--check"])
    assert (again.exit_code, again.output) == (
        0,
        f"store {path}: tables of version 2, the newest; nothing to do\n",
    )
    missing = CliRunner().invoke(main, ["store", "migrate", "--store", str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert "no such file; name one with --store" in missing.output
