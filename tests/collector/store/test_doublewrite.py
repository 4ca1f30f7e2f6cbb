"""A checkpoint that is cut short harms no store; and nothing is put back that is not the file's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import duckdb
import pytest

from joulebook.collector.store.duckdb import DuckDBStore, doublewrite
from joulebook.collector.store.duckdb.checkpoints import Checkpoints
from joulebook.collector.store.duckdb.file import connect, opened, read_only
from joulebook.collector.store.duckdb.lock import descriptor_of
from joulebook.collector.store.protocol import StoreError
from tests.collector.store.checkpoint_cut import HEADERS, Cut, cut_short
from tests.collector.store.histories import history
from tests.simulated.delivery import books_of, decoded, deliver
from tests.simulated.node import Load, SimulatedNode

_BLOCK = 262_144


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """Return a checkpoint that is cut short."""
    return cut_short(tmp_path)


def test_a_power_cut_amid_a_checkpoint(cut: Cut) -> None:
    """With any sectors of the blocks written and the old header the store opens with all; without the note,
    DuckDB does not open it.
    """
    refused = 0
    for seed in range(4):
        torn = cut.torn(Random(seed))
        cut.lay_out(torn)
        cut.assert_whole()
        cut.lay_out(torn)
        try:
            with duckdb.connect(str(cut.path)) as connection:
                connection.execute("SELECT count(*) FROM ledger")
        except duckdb.Error:
            refused += 1
    assert refused


def test_a_kill_amid_a_checkpoint(cut: Cut) -> None:
    """With all blocks written, or none, and the old header or half of the new one, the store has all."""
    begin = cut.before[:HEADERS]
    changed = next(i for i in range(HEADERS) if begin[i] != cut.after[i])
    for header in (begin, begin[: changed + 9] + cut.after[changed + 9 : HEADERS]):
        for rest in (cut.before[HEADERS:], cut.after[HEADERS:]):
            cut.lay_out(header + rest)
            cut.assert_whole()


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda _: b"",
        lambda note: note[:30],
        lambda note: note[:-1],
        lambda note: note[:20_000] + bytes([note[20_000] ^ 1]) + note[20_001:],
        lambda _: b"something else's" * 1000,
    ],
)
def test_a_torn_note_is_removed(cut: Cut, spoilt: Callable[[bytes], bytes]) -> None:
    """Of a note that is not whole nothing is put back: its checkpoint had not begun."""
    cut.lay_out(cut.before, spoilt(cut.note))
    doublewrite.mend(cut.path)
    assert cut.path.read_bytes() == cut.before
    assert not doublewrite.note_of(cut.path).exists()
    cut.assert_whole()


def test_only_what_is_of_that_checkpoint_is_put_back(cut: Cut, tmp_path: Path) -> None:
    """A file whose new header is durable, and one that another file was replaced by, stay as they are."""
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    for file in (cut.after, other.read_bytes(), b"", cut.before[:5000]):
        cut.lay_out(file)
        doublewrite.mend(cut.path)
        assert cut.path.read_bytes() == file
        assert not doublewrite.note_of(cut.path).exists()
    # Its log goes with its header.
    cut.path.write_bytes(cut.after)
    Path(f"{cut.path}.wal").unlink()
    cut.assert_whole()


def test_who_only_reads_says_what_mends_it(cut: Cut) -> None:
    """Nothing is written by who reads only; it names the note and the command, which then mends it."""
    torn = cut.torn(Random(1))
    cut.lay_out(torn)
    with pytest.raises(StoreError, match=r"cut short.*doublewrite; .*joulebook store migrate"):
        read_only(cut.path).__enter__()
    assert cut.path.read_bytes() == torn
    assert doublewrite.note_of(cut.path).read_bytes() == cut.note
    with opened(cut.path):
        pass
    with read_only(cut.path):
        pass
    cut.assert_whole()


_HOLDS = """
import sys, duckdb
try:
    connection = duckdb.connect(sys.argv[1])
except duckdb.Error as error:
    sys.exit(str(error))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(cut: Cut) -> Iterator[Path]:
    """Have another program hold a store whose checkpoint is under way, as far as its files tell."""
    cut.lay_out(cut.before)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(cut.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield cut.path
        process.communicate()


@pytest.mark.parametrize("read_only", [False, True])
def test_another_program_s_checkpoint_is_left_alone(cut: Cut, holder: Path, read_only: bool) -> None:
    """Who is refused the file by DuckDB puts nothing back into it, and leaves the note."""
    with pytest.raises(StoreError, match="is another collector using it"):
        connect(holder, read_only=read_only)
    assert doublewrite.note_of(holder).read_bytes() == cut.note


def test_this_program_s_own_checkpoint_is_left_alone(cut: Cut) -> None:
    """A second connection of the same program finds the note of the first, and leaves it."""
    with closing(DuckDBStore(cut.path)):
        doublewrite.note_of(cut.path).write_bytes(cut.note)
        connect(cut.path).close()
        assert doublewrite.note_of(cut.path).read_bytes() == cut.note


def test_a_checkpoint_keeps_the_lock(cut: Cut) -> None:
    """After a checkpoint no other program can open the file, as before it."""
    with closing(DuckDBStore(cut.path)) as store:
        store.checkpoint()
        told = subprocess.run(
            [sys.executable, "-c", _HOLDS, str(cut.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert b"lock" in told.stderr


def test_what_is_put_back_is_not_lost_by_another_cut(cut: Cut) -> None:
    """Cut again while it puts back, it is put back by the next one."""
    cut.lay_out(cut.torn(Random(2)))
    note = doublewrite.note_of(cut.path)
    kept = note.read_bytes()
    doublewrite.mend(cut.path)
    half = bytearray(cut.path.read_bytes())
    half[HEADERS + 1000 : HEADERS + _BLOCK] = bytes(_BLOCK - 1000)
    cut.path.write_bytes(half)
    note.write_bytes(kept)
    cut.assert_whole()


def test_without_a_note_there_is_no_checkpoint(cut: Cut, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be written commits go on, it is said once, and tried again as the log grows."""
    shutil.copyfile(cut.path, other := cut.path.with_name("other.duckdb"))
    note = doublewrite.note_of(other)
    store = DuckDBStore(other)
    note.mkdir()
    store.checkpoints.threshold_bytes = 1
    node = SimulatedNode("n9")
    node.begin([Load("slurm.1", cpu_us=1_000_000)])
    for _ in range(3):
        node.tick()
        deliver(store, [decoded(node, [node.report()])])
    assert caplog.text.count("no checkpoint was made") == 1
    logged = store.checkpoints.logged_bytes()
    assert logged > 1
    note.rmdir()
    with store.writing() as connection:
        connection.execute("CREATE TABLE much AS SELECT hash(i) AS a FROM range(60_000) AS t(i)")
    for _ in range(2):
        with store.writing() as connection:
            connection.execute("INSERT INTO much FROM much LIMIT 60_000")
    assert store.checkpoints.logged_bytes() < logged
    store.close()


def test_duckdb_makes_no_checkpoint_by_itself(tmp_path: Path) -> None:
    """Neither a long log, nor many rows at once, nor letting go writes a header; the store's own do."""
    path = tmp_path / "books.duckdb"
    connection = connect(path)
    headers = os.pread(descriptor_of(path), HEADERS, 0)
    connection.execute("CREATE TABLE much AS SELECT hash(i) AS a FROM range(300_000) AS t(i)")
    for _ in range(45):
        connection.execute("INSERT INTO much SELECT hash(random()) FROM range(60_000)")
    assert Path(f"{path}.wal").stat().st_size > 20 << 20
    connection.close()
    assert path.read_bytes()[:HEADERS] == headers
    connection = connect(path)
    made = Checkpoints(path)
    made.make_if_due(connection)
    assert made.logged_bytes() > 20 << 20
    made.threshold_bytes = 20 << 20
    made.make_if_due(connection)
    assert made.logged_bytes() == 0
    connection.close()
    assert path.read_bytes()[:HEADERS] != headers
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_behind_a_link_has_its_checkpoints(cut: Cut, tmp_path: Path) -> None:
    """Opened through a link, a file has its log and its note where it is, and is mended by any name."""
    link = tmp_path / "link.duckdb"
    link.symlink_to(cut.path)
    assert doublewrite.note_of(link) == doublewrite.note_of(cut.path)
    cut.lay_out(cut.torn(Random(3)))
    store = DuckDBStore(link)
    assert books_of(store) == cut.books
    assert store.checkpoints.logged_bytes() == len(cut.log)
    store.close()
    assert not Path(f"{cut.path}.wal").exists()
    assert [p.name for p in tmp_path.glob("link*")] == [link.name]
    cut.assert_whole()


def test_memory_has_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in memory writes no note, and makes its checkpoints."""
    monkeypatch.chdir(tmp_path)
    store = DuckDBStore(":memory:")
    deliver(store, [history(SimulatedNode())])
    store.checkpoint()
    store.close()
    assert [*tmp_path.iterdir()] == []
