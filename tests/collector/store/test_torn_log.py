"""Logs that power cuts tore, and logs that were damaged."""

import logging
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import duckdb
import pytest

from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.log import END, broken
from joulebook.collector.store.duckdb.torn_log import mend
from joulebook.collector.store.protocol import StoreError
from tests.crashes.books import FILE, assert_sound, batches, commit, stored
from tests.crashes.medium import found_below
from tests.crashes.torn import Logged, logged, torn

_COMMITS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """Return a real store's file, and its log after each of some commits."""
    return logged(tmp_path_factory.mktemp("logged"), _COMMITS)


def _kept(root: Path) -> list[Path]:
    return sorted(root.glob("*.torn-*"))


def test_each_commit_is_one_transaction_at_the_end_of_the_log(made: Logged) -> None:
    """The log only grows, each commit ends as DuckDB ends a transaction, and none does so within."""
    for number, log in enumerate(made.logs):
        before = made.synced_before(number)
        assert number == 0 or log[:before] == made.logs[number - 1]
        assert log.endswith(END)
        assert log.count(END, before) == 1


@pytest.mark.parametrize("seed", range(9))
def test_the_commit_that_a_power_cut_tore_is_cut_off(made: Logged, seed: int, tmp_path: Path) -> None:
    """Whatever sectors are missing, just that commit is not there, the store goes on, and the log is kept."""
    rng = Random(seed)
    number = rng.randrange(_COMMITS + 1)
    log = made.logs[number]
    left = torn(log, made.synced_before(number), rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]), rng)
    path = made.lay(tmp_path, left)
    known = batches()
    with closing(DuckDBStore(path)) as store:
        assert stored(store, known) == (number if left == log else max(number - 1, 0))
        # One whose end is missing DuckDB cuts by itself.
        assert all(one.read_bytes() == left for one in _kept(tmp_path))
        assert left != log or not _kept(tmp_path)
        for batch in known:
            commit(store, batch)
        assert_sound(store, known[-1].booked_uj)
    with closing(DuckDBStore(path)) as store:
        assert_sound(store, known[-1].booked_uj)
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_hole_in_the_last_commit_is_told(
    made: Logged, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says how many bytes went from where, and what the log is called now."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    with caplog.at_level(logging.WARNING), closing(DuckDBStore(path)) as store:
        assert stored(store, batches()) == _COMMITS - 1
    synced, (kept,), (said,) = made.synced_before(_COMMITS), _kept(tmp_path), caplog.messages
    assert f"{len(made.logs[-1]) - synced} bytes are cut off at byte {synced}" in said
    assert said.endswith(str(kept))
    assert kept.read_bytes() == made.with_hole(_COMMITS)


# The last commit without a sector is what a power cut leaves.
@pytest.mark.parametrize(
    ("number", "how"),
    [
        *((number, "a sector is lost") for number in range(_COMMITS)),
        *((number, "a bit flips") for number in range(_COMMITS + 1)),
    ],
)
def test_damage_to_what_was_acknowledged_is_refused(
    made: Logged, number: int, how: str, tmp_path: Path
) -> None:
    """Damage that no power cut does is an error that names log, place and what to do; nothing changes."""
    log = made.with_hole(number)
    if how == "a bit flips":
        flipped = bytearray(made.logs[-1])
        flipped[(made.synced_before(number) // 512 + 2) * 512 + 77] ^= 4
        log = bytes(flipped)
    path = made.lay(tmp_path, log)
    before = found_below(tmp_path)
    with pytest.raises(
        StoreError, match=rf"{FILE}\.wal is damaged at byte \d+.*joulebook restore.*knowingly"
    ):
        DuckDBStore(path)
    assert found_below(tmp_path) == before


def test_a_commit_behind_the_hole_makes_it_damage_where_the_last_is_torn_too(
    made: Logged, tmp_path: Path
) -> None:
    """A hole in an acknowledged commit is refused also where the one behind it has no end."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS - 1)[: -len(END) - 1])
    with pytest.raises(StoreError, match="within what was acknowledged"):
        DuckDBStore(path)
    assert not _kept(tmp_path)


def test_commits_that_came_while_the_file_was_written_through_make_it_damage(
    made: Logged, tmp_path: Path
) -> None:
    """DuckDB has them in another log; they came after those of this one."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    (tmp_path / f"{FILE}.checkpoint.wal").write_bytes(made.logs[0])
    with pytest.raises(StoreError, match="within what was acknowledged"):
        DuckDBStore(path)


def test_who_reads_only_is_told_who_mends_it(made: Logged, tmp_path: Path) -> None:
    """A torn log is not mended by a reader: nothing changes, and the error says what does it."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    before = found_below(tmp_path)
    with pytest.raises(StoreError, match="joulebook store migrate"), read_only(path):
        pass
    assert found_below(tmp_path) == before
    DuckDBStore(path).close()
    with read_only(path) as connection:
        assert connection.execute("SELECT 1 FROM nodes").fetchone()


def test_a_log_that_cannot_be_replaced_stays(made: Logged, tmp_path: Path) -> None:
    """Where the new log cannot be written the error says so, and the old one is as it was."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    (tmp_path / f"{FILE}.wal.unfinished").mkdir()
    with pytest.raises(StoreError, match="could not be mended"):
        DuckDBStore(path)
    assert (tmp_path / f"{FILE}.wal").read_bytes() == made.with_hole(_COMMITS)


def test_the_newest_torn_logs_are_kept(made: Logged, tmp_path: Path) -> None:
    """However often the power is cut, three logs are kept, the newest."""
    for year in range(2001, 2006):
        (tmp_path / f"{FILE}.wal.torn-{year}0101T000000Z").touch()
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    DuckDBStore(path).close()
    assert [one.name[-16:-12] for one in _kept(tmp_path)][:2] == ["2004", "2005"]
    assert len(_kept(tmp_path)) == 3


@pytest.mark.parametrize("missing", [1, len(END), len(END) + 1, 700])
def test_a_log_that_ends_early_is_duckdbs_own(made: Logged, missing: int, tmp_path: Path) -> None:
    """A log that ends within its last commit opens without that commit, and nothing is kept of it."""
    path = made.lay(tmp_path, made.logs[-1][:-missing])
    with closing(DuckDBStore(path)) as store:
        assert stored(store, batches()) == _COMMITS - 1
    assert not _kept(tmp_path)


def test_what_is_no_log_of_this_form_is_not_judged(made: Logged) -> None:
    """Another version of the log, or a place that is no entry's, is left to DuckDB's own error."""
    log = made.logs[-1]
    assert broken(log.replace(b"\x65\x00\x02", b"\x65\x00\x03", 1), len(log) - 5) is None
    assert broken(log, made.synced_before(_COMMITS) + 3) is None
    assert broken(b"", 16) is None
    assert broken(log[:20], 36) is None


def test_a_file_behind_a_link_is_mended_where_it_is(made: Logged, tmp_path: Path) -> None:
    """A file that is a symbolic link has its log, and what is kept of it, beside what it links to."""
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link.duckdb"
    link.symlink_to(made.lay(real, made.with_hole(_COMMITS)))
    with closing(DuckDBStore(link)) as store:
        assert stored(store, batches()) == _COMMITS - 1
    assert len(_kept(real)) == 1
    assert not _kept(tmp_path)


def test_a_file_that_another_program_has_is_left_to_it(made: Logged, tmp_path: Path) -> None:
    """Between DuckDB's refusal and the mending another program may have opened the file: nothing changes."""
    path = made.lay(tmp_path, made.with_hole(_COMMITS))
    with pytest.raises(duckdb.Error) as refused:
        duckdb.connect(str(path))
    before = found_below(tmp_path)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        assert not mend(path, refused.value, read_only=False)
        assert found_below(tmp_path) == before
        other.communicate(b"\n")
    assert mend(path, refused.value, read_only=False)
