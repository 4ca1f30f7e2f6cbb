"""A disk that fails where it hurts most: at the start, beside the ticks, and between memory and disk."""

import errno
import os
from pathlib import Path

import pytest

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.directory import SpoolTakenError
from joulebook.agent.spool.files import Files
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from tests.agent.spool.conftest import Source
from tests.simulated.node import BOOT

_AGAIN_US = 5_000_000
_REFUSED_US = 300_000_000


class _Disk(Files):
    """Fails the calls that are named."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)

    def _fail(self, call: str) -> None:
        if call in self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def make_directory(self, path: Path) -> None:
        self._fail("make_directory")
        super().make_directory(path)

    def names(self, directory: Path) -> list[str]:
        self._fail("names")
        return super().names(directory)

    def open(self, path: Path, flags: int) -> int:
        if flags & os.O_CREAT and path.name != "lock":
            self._fail("create")
        return super().open(path, flags)

    def remove(self, path: Path) -> None:
        self._fail("remove")
        super().remove(path)

    def write(self, fd: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".new"):  # noqa: PTH115  a descriptor's name, not a path
            self._fail("write anew")
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._fail("sync")
        super().sync(fd)

    def rename(self, path: Path, to: Path) -> None:
        self._fail("rename")
        super().rename(path, to)


class _Clock:
    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


def _spool(directory: Path, disk: Files, clock: _Clock, boot: bytes = BOOT) -> Spool:
    return Spool(directory, boot=boot, bounds=Bounds(max_bytes=8 * 3000), clock=clock, files=disk)


def _all(spool: Spool) -> list[Entry]:
    return list(iter(spool.next_kept, None))


def test_the_keeper_outlives_a_disk_on_which_nothing_can_be_made_nor_removed(
    tmp_path: Path, source: Source
) -> None:
    """Thinning that fails in every call leaves the Reports as they were, and is done when it can be."""
    disk = _Disk()
    spool = _spool(tmp_path / "spool", disk, _Clock())
    entries = []
    # Where thinning is due, and dropping is not.
    while spool.size_bytes() <= 7 * 3000:
        entries.append(source.entry())
        spool.put(entries[-1])
    disk.broken = {"create", "remove"}
    spool.keeper.turn()
    assert [entry.key for entry in _all(spool)] == [entry.key for entry in entries]
    spool.rewind()
    assert (spool.counts.dropped, spool.counts.damaged) == (0, 0)
    disk.broken.clear()
    spool.close()
    again = _spool(tmp_path / "spool", disk, _Clock())
    assert [entry.key for entry in _all(again)] == [entry.key for entry in entries]
    again.close()


@pytest.mark.parametrize("broken", ["make_directory", "names"])
def test_a_directory_is_taken_when_it_can_be_used(tmp_path: Path, source: Source, broken: str) -> None:
    """What an agent before left in a directory that cannot be used at the start goes out first, later."""
    before = _spool(tmp_path / "spool", Files(), _Clock(), bytes(16))
    entries = [source.entry() for _ in range(3)]
    for entry in entries:
        before.put(entry)
    before.close()

    disk, clock = _Disk(broken), _Clock()
    spool = _spool(tmp_path / "spool", disk, clock)
    assert "Input/output error" in spool.trouble
    for _ in range(2):
        clock.now_us += _AGAIN_US
        entries.append(source.entry())
        spool.put(entries[-1])
    assert len(spool) == 2
    assert spool.trouble
    disk.broken.clear()
    clock.now_us += _AGAIN_US
    entries.append(source.entry())
    spool.put(entries[-1])
    assert (spool.trouble, len(spool)) == ("", 6)
    with pytest.raises(SpoolTakenError):
        _spool(tmp_path / "spool", Files(), _Clock())
    assert [entry.key for entry in _all(spool)] == [entry.key for entry in entries]
    spool.close()
    again = _spool(tmp_path / "spool", Files(), _Clock())
    assert [e.report.SerializeToString() for e in _all(again)] == [source.given[e.key] for e in entries]
    again.close()


def test_a_directory_that_another_agent_took_meanwhile_is_left_to_it(tmp_path: Path, source: Source) -> None:
    """Reports stay in memory while another agent has the directory, and go there when it has ended."""
    disk, clock = _Disk("make_directory"), _Clock()
    spool = _spool(tmp_path / "spool", disk, clock)
    other = _spool(tmp_path / "spool", Files(), _Clock())
    disk.broken.clear()
    entries = []
    for _ in range(3):
        clock.now_us += _AGAIN_US
        entries.append(source.entry())
        spool.put(entries[-1])
    assert f"the agent with pid {os.getpid()} uses it" in spool.trouble
    other.close()
    clock.now_us += _AGAIN_US
    entries.append(source.entry())
    spool.put(entries[-1])
    assert spool.trouble == ""
    assert [entry.key for entry in _all(spool)] == [entry.key for entry in entries]
    spool.close()


@pytest.mark.parametrize("refused_first", [True, False], ids=["refused in memory", "refused on disk"])
def test_a_report_refused_for_now_waits_though_it_goes_to_disk(
    tmp_path: Path, source: Source, refused_first: bool
) -> None:
    """A Report that is refused for now is offered minutes later, wherever it was moved meanwhile."""
    disk, clock = _Disk("create"), _Clock()
    spool = _spool(tmp_path / "spool", disk, clock)
    refused, acknowledged = source.entry(), source.entry()
    for entry in (refused, acknowledged):
        spool.put(entry)
        assert spool.next_kept() is not None
    if refused_first:
        spool.postpone(refused.key)
    disk.broken.clear()
    clock.now_us += _AGAIN_US
    newest = source.entry()
    spool.put(newest)
    assert spool.trouble == ""
    # What is on its way stays on its way, and can be asked for.
    found = spool.get(acknowledged.key)
    assert found is not None
    assert found.report == acknowledged.report
    if not refused_first:
        spool.postpone(refused.key)
    assert [entry.key for entry in _all(spool)] == [newest.key]
    spool.remove(acknowledged.key)
    spool.remove(newest.key)
    clock.now_us += _REFUSED_US
    assert [entry.key for entry in _all(spool)] == [refused.key]
    spool.remove(refused.key)
    assert len(spool) == 0
    spool.close()


def test_what_goes_beyond_the_bound_while_it_is_on_its_way_is_counted_once(source: Source) -> None:
    """A Report that memory let go of and a collector then acknowledges is taken off the count once."""
    spool = Spool(None, memory_reports=2)
    entries = [source.entry() for _ in range(4)]
    spool.put(entries[0])
    assert spool.next_kept() is not None
    for entry in entries[1:]:
        spool.put(entry)
    assert (len(spool), spool.counts.dropped) == (2, 2)
    spool.remove(entries[0].key)
    assert len(spool) == 2
    assert [entry.key for entry in _all(spool)] == [entry.key for entry in entries[2:]]


@pytest.mark.parametrize("broken", ["create", "write anew", "sync", "rename"])
def test_what_cannot_be_written_anew_holds_nothing(tmp_path: Path, source: Source, broken: str) -> None:
    """However often thinning fails, and wherever, nothing of it stays: no descriptor, no file."""
    disk = _Disk()
    spool = _spool(tmp_path, disk, _Clock())
    while spool.size_bytes() < 8 * 3000 - 2000:
        spool.put(source.entry())
    disk.broken = {broken}
    held = []
    for _ in range(5):
        spool.put(source.entry())
        spool.keeper.keep_bounds()
        held.append(len(_fds()))
    assert max(held) <= held[0] + 1
    assert not list(tmp_path.glob("*.new"))
    spool.close()


def _fds() -> list[str]:
    return os.listdir("/proc/self/fd")  # noqa: PTH208  names are all that is asked for
