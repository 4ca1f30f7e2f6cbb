"""A file that forgot rows gives their room back, and is what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulebook.cli.main import main
from joulebook.collector.store.duckdb import DuckDBStore, compacting
from joulebook.collector.store.duckdb.compacting import compact
from joulebook.collector.store.protocol import NoRoomError, StoreError
from tests.collector.store.histories import history
from tests.simulated.delivery import books_of, decoded, deliver
from tests.simulated.node import SimulatedNode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a store of which most was forgotten."""
    path = tmp_path / "books.duckdb"
    store = DuckDBStore(path)
    deliver(store, [history(SimulatedNode())])
    store._connection.execute(
        "CREATE TABLE much AS SELECT hash(i) AS a, hash(i + 1) AS b FROM range(600_000) AS t(i)"
    )
    store.checkpoint()
    store._connection.execute("DELETE FROM much WHERE a % 100 > 0")
    # What is in the log alone is of the store too.
    store._connection.execute("INSERT INTO much VALUES (1, 2)")
    store.close()
    return path


def test_what_a_link_leads_to_is_replaced(path: Path, tmp_path: Path) -> None:
    """A link to a file stays one, and the file is smaller where it is."""
    link, size = tmp_path / "link.duckdb", path.stat().st_size
    link.symlink_to(path)
    compact(link)
    assert link.is_symlink()
    assert path.stat().st_size < size // 2


def test_the_file_is_smaller_and_the_same(path: Path) -> None:
    """Books, rows and mode are what they were, a file that was left over is replaced, the size is less."""
    store = DuckDBStore(path)
    before, rows = books_of(store), store._rows("SELECT * FROM much ORDER BY ALL")
    store.close()
    path.chmod(0o640)
    path.with_name("books.duckdb.compacting").write_text("left over")
    size = path.stat().st_size
    told = CliRunner().invoke(main, ["store", "compact", "--store", str(path)])
    assert told.exit_code == 0, told.output
    assert "MiB became" in told.output
    assert path.stat().st_size < size // 2
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in path.parent.iterdir()] == ["books.duckdb"]
    store = DuckDBStore(path)
    assert (books_of(store), store._rows("SELECT * FROM much ORDER BY ALL")) == (before, rows)
    node = SimulatedNode(name="n2")
    node.begin([])
    node.tick()
    deliver(store, [decoded(node, [node.report()])])
    assert len(books_of(store)) > len(before)
    store.close()


def test_what_goes_wrong_leaves_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room, a copy that differs, a disk that fails: each is told, and the file is as it was."""
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _place: type("Usage", (), {"free": 10}))
        with pytest.raises(NoRoomError, match="MiB of it are in use and are copied, and 0 MiB are free"):
            compact(path)

    def half(_connection: object, fresh: Path) -> None:
        DuckDBStore(fresh).close()

    def failing(_connection: object, _fresh: Path) -> None:
        raise OSError(5, "Input/output error")

    for copy, expected in ((half, "is not what it was copied from"), (failing, "Input/output error")):
        with monkeypatch.context() as patch:
            patch.setattr(compacting, "copy_file", copy)
            with pytest.raises(StoreError, match=f"{expected}.*the file is as it was"):
                compact(path)
    assert not path.with_name("books.duckdb.compacting").exists()
    store = DuckDBStore(path)
    assert store._rows("SELECT count(*) FROM much WHERE a = 1") == [(1,)]
    store.close()
    assert before
