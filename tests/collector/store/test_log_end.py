"""Logs that DuckDB would take for ended before what was acknowledged is."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import duckdb
import pytest

from joulebook.collector.store.duckdb import DuckDBStore, log_end
from joulebook.collector.store.duckdb.file import connect, read_only
from joulebook.collector.store.duckdb.log import END, dropped
from joulebook.collector.store.protocol import StoreError
from tests.crashes.books import FILE, batches, stored
from tests.crashes.medium import found_below
from tests.crashes.torn import Logged, logged, torn

_COMMITS = 4
_SIZES: dict[str, Callable[[int], int]] = {
    "zero": lambda _: 0,
    "too great": lambda size: size | 1 << 33,
    "top bit": lambda size: size | 1 << 63,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """Return a real store's file, and its log after each of some commits."""
    return logged(tmp_path_factory.mktemp("logged"), _COMMITS)


def _head_bytes(log: bytes) -> int:
    return log.index(b"\x67\x00") + 5


def _entries(log: bytes) -> list[int]:
    """Return where entries begin."""
    places, at = [], _head_bytes(log)
    while at < len(log):
        places.append(at)
        at += 16 + struct.unpack_from("<Q", log, at)[0]
    assert at == len(log)
    return places


def _damaged(log: bytes, place: int, how: str) -> bytes:
    content = bytearray(log)
    (size,) = struct.unpack_from("<Q", content, place)
    struct.pack_into("<Q", content, place, _SIZES[how](size))
    return bytes(content)


def _checked(made: Logged, root: Path, log: bytes) -> None:
    log_end.check(made.lay(root, log), read_only=False)


def _reports(path: Path) -> int:
    with closing(connect(path)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM intervals WHERE NOT is_gap").fetchall()
    return int(count)


@pytest.mark.parametrize("how", _SIZES)
def test_no_damaged_size_of_a_log_drops_a_commit(made: Logged, how: str, tmp_path: Path) -> None:
    """Whichever entry's size reads 0, or more than there is, opening is refused, and nothing changes."""
    log = made.logs[-1]
    for place in _entries(log):
        left = _damaged(log, place, how)
        path = made.lay(tmp_path, left)
        with pytest.raises(StoreError, match=rf"{FILE}\.wal is damaged at byte {place}, within what was"):
            connect(path)
        assert found_below(tmp_path) == {FILE: made.file, f"{FILE}.wal": left}


@pytest.mark.parametrize("how", _SIZES)
def test_duckdb_alone_would_drop_them(made: Logged, how: str, tmp_path: Path) -> None:
    """What is refused here DuckDB opens, without the commits: the check is needed."""
    log = made.logs[-1]
    for number in range(_COMMITS):
        # The entry that begins where the commit does.
        path = made.lay(tmp_path, _damaged(log, made.synced_before(number + 1), how))
        with duckdb.connect(str(path)) as connection:
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
            ((found,),) = connection.execute("SELECT count(*) FROM intervals WHERE NOT is_gap").fetchall()
        assert found == sum(len(batch.reports) for batch in batches()[:number])


def test_it_is_told_where_and_what_to_do(made: Logged, tmp_path: Path) -> None:
    """The error names log, byte, size, commits and bytes behind; what it says gives up just those."""
    log, place = made.logs[-1], made.synced_before(_COMMITS - 1)
    path = made.lay(tmp_path, _damaged(log, place, "zero"))
    with pytest.raises(StoreError) as refused:
        DuckDBStore(path)
    said = str(refused.value)
    assert f"its log {path}.wal is damaged at byte {place}" in said
    assert "an entry reads 0," in said
    assert f"leave out 2 commits in the {len(log) - place} bytes behind" in said
    assert "joulebook restore" in said
    (to,) = re.findall(r"truncate -s (\d+) '(.*)'`", said)
    os.truncate(to[1], int(to[0]))
    with closing(DuckDBStore(path)) as store:
        assert stored(store, batches()) == _COMMITS - 2


def test_who_reads_only_is_refused_too(made: Logged, tmp_path: Path) -> None:
    """A reader would tell of books that lack what was acknowledged."""
    path = made.lay(tmp_path, _damaged(made.logs[-1], made.synced_before(2), "too great"))
    with pytest.raises(StoreError, match="within what was acknowledged"), read_only(path):
        pass


def test_no_flipped_bit_of_the_head_drops_a_commit(made: Logged, tmp_path: Path) -> None:
    """Whatever bit of a log's head flips, the store is refused, or all that was acknowledged is there."""
    log = made.logs[-1]
    refused = 0
    for at in range(_head_bytes(log)):
        for bit in {at % 8, 7}:
            left = bytearray(log)
            left[at] ^= 1 << bit
            try:
                assert _reports(made.lay(tmp_path, bytes(left))) == sum(
                    len(batch.reports) for batch in batches()[:_COMMITS]
                )
            except StoreError:
                refused += 1
    assert refused > _head_bytes(log)


def test_what_power_cuts_leave_is_let_pass(made: Logged, tmp_path: Path) -> None:
    """Whatever sectors of the last commit never reached the disk, and where the file ends, it may open."""
    for seed in range(400):
        rng = Random(seed)
        number = rng.randrange(_COMMITS + 1)
        log, synced = made.logs[number], made.synced_before(number)
        left = torn(log, synced, rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]), rng)
        if rng.random() < 0.3:
            left = left[: rng.randrange(synced, len(left))]
        _checked(made, tmp_path, left)


def test_a_log_that_ends_anywhere_in_its_last_commit_is_let_pass(made: Logged, tmp_path: Path) -> None:
    """A kill within a write, or a length that was not synced, ends the file at any byte."""
    for number in (0, _COMMITS):
        log, synced = made.logs[number], made.synced_before(number)
        for length in (*range(synced, synced + 600, 5), *range(len(log) - len(END), len(log))):
            _checked(made, tmp_path, log[:length])
            _checked(made, tmp_path, log[:length] + bytes(1000))


def test_commits_that_came_while_the_file_was_written_through_make_it_damage(
    made: Logged, tmp_path: Path
) -> None:
    """With commits in the other log, this one's last was synced: what it lacks was acknowledged."""
    log = made.logs[-1][: -len(END)]
    _checked(made, tmp_path, log + bytes(512))
    later = tmp_path / f"{FILE}.checkpoint.wal"
    later.write_bytes(made.logs[0])
    with pytest.raises(StoreError, match=r"within what was acknowledged.*`joulebook restore`\)$"):
        _checked(made, tmp_path, log[:-3])
    # Not in its last commit, which a power cut may have torn.
    later.write_bytes(_damaged(made.logs[-1], made.synced_before(1), "zero"))
    with pytest.raises(StoreError, match=r"checkpoint\.wal is damaged at byte"):
        _checked(made, tmp_path, made.logs[-1])


def test_what_duckdb_refuses_by_itself_is_left_to_it(made: Logged) -> None:
    """A wrong checksum before the size, and another version, are not judged here."""
    log = made.logs[-1]
    assert dropped(made.with_hole(_COMMITS), more=False) is None
    assert dropped(_damaged(made.with_hole(1), made.synced_before(3), "zero"), more=False) is None
    assert dropped(log.replace(b"\x65\x00\x02", b"\x65\x00\x03", 1), more=False) is None
    assert dropped(log.replace(b"\x65\x00\x02", b"\x65\x00\x82", 1), more=False) is not None


def test_a_file_that_is_open_is_left_alone(made: Logged, tmp_path: Path) -> None:
    """What another program, or this one, has open is not judged: its log is being written."""
    path = made.lay(tmp_path, _damaged(made.logs[-1], made.synced_before(2), "zero"))
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        log_end.check(path, read_only=False)
        other.communicate(b"\n")
    with path.open("rb"):
        log_end.check(path, read_only=False)
    with pytest.raises(StoreError):
        log_end.check(path, read_only=False)


def test_a_file_behind_a_link_has_its_log_where_it_is(made: Logged, tmp_path: Path) -> None:
    """The log beside what a link leads to is judged, as DuckDB replays that one."""
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link.duckdb"
    link.symlink_to(made.lay(real, _damaged(made.logs[-1], made.synced_before(2), "zero")))
    with pytest.raises(StoreError, match=f"{real}"):
        DuckDBStore(link)
