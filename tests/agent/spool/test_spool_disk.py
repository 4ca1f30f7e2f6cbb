"""What a spool finds where it is to be: another agent, foreign files, no directory, no room."""

import os
import subprocess
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.directory import SpoolTakenError
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from tests.agent.spool.conftest import Source
from tests.simulated.node import BOOT

# Small segments, so that there are many.
BOUNDS = Bounds(max_bytes=8 * 3000)


def _all(spool: Spool) -> list[Entry]:
    """Take everything out that is not on its way."""
    return list(iter(spool.next_kept, None))


def test_two_agents_do_not_share_a_spool(tmp_path: Path) -> None:
    """The second one is told whose it is; when the first has ended, it may have it."""
    first = Spool(tmp_path)
    with pytest.raises(SpoolTakenError, match=f"the agent with pid {os.getpid()} uses it; stop that one"):
        Spool(tmp_path)
    first.close()
    Spool(tmp_path).close()


def test_foreign_files_are_left_alone(tmp_path: Path, source: Source) -> None:
    """Files of other names, and segments of a later format, are neither read nor changed nor in the way."""
    later = b"joulebook spool\n" + (9).to_bytes(4, "little") + bytes(4)
    later += blake2b(later[:20], digest_size=8).digest() + b"of another time"
    foreign = {"notes.txt": b"mine", "000000000007.segment": later, "000000000001.segment.bak": b"old"}
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    spool = Spool(tmp_path)
    assert spool.counts.damaged == 1
    spool.put(source.entry())
    assert len(_all(spool)) == 1
    spool.close()
    assert {name: (tmp_path / name).read_bytes() for name in foreign} == foreign


def test_a_segment_that_says_nothing_is_set_aside(tmp_path: Path) -> None:
    """A segment with nothing sound in it is renamed, told of, and no reason not to begin."""
    (tmp_path / "000000000003.segment").write_bytes(bytes(5000))
    spool = Spool(tmp_path)
    assert (len(spool), spool.counts.damaged) == (0, 1)
    (found,) = spool.findings()
    assert found.reason == "1 damaged places stepped over"
    spool.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000003.damaged", "lock"]


def test_without_a_directory_the_newest_are_kept(source: Source) -> None:
    """In memory as many Reports are kept as there may be, the newest, through any number of segments."""
    spool = Spool(None, bounds=BOUNDS, memory_reports=30)
    entries = [source.entry() for _ in range(100)]
    for entry in entries:
        spool.put(entry)
    assert (len(spool), spool.counts.dropped) == (30, 70)
    assert [entry.key for entry in _all(spool)] == [entry.key for entry in entries[-30:]]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 128 KiB, where that is permitted."""
    path = tmp_path / "tiny"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"may not mount here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_really_full(tiny_disk: Path, source: Source) -> None:
    """On a full file system Reports go on in memory; when there is room they go to it, in order."""
    now_us = 0
    spool = Spool(tiny_disk / "spool", boot=BOOT, clock=lambda: now_us)
    entries = []
    while not spool.trouble:
        entries.append(source.entry())
        spool.put(entries[-1])
    assert "No space left on device" in spool.trouble
    (found,) = spool.findings()
    assert found.fix == "free or mend the disk of agent.spool"
    entries += [source.entry() for _ in range(20)]
    for entry in entries[-20:]:
        spool.put(entry)
    subprocess.run(["mount", "-o", "remount,size=1m", str(tiny_disk)], check=True)
    now_us = 10_000_000
    entries.append(source.entry())
    spool.put(entries[-1])
    assert not spool.trouble
    spool.close()
    again = Spool(tiny_disk / "spool", boot=BOOT)
    left = _all(again)
    assert [e.key for e in left] == [e.key for e in entries]
    assert [e.report.SerializeToString() for e in left] == [source.given[e.key] for e in entries]
    again.close()
