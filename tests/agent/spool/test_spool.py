"""What was put into a spool comes out of it, once, in order and bit for bit, whatever happened meanwhile."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from joulebook.agent.outbox import Entry, Key
from joulebook.agent.spool import records
from joulebook.agent.spool.files import Files
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.records import Kind, Record
from joulebook.agent.spool.spool import Spool
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.agent.spool.conftest import Source
from tests.simulated.node import BOOT

OTHER_BOOT = bytes(16)
# Small segments, so that there are many.
BOUNDS = Bounds(max_bytes=8 * 3000)


class Disk(Files):
    """Writes, until it is full; the write that fills it is taken in part."""

    def __init__(self) -> None:
        self.room: int | None = None

    def write(self, fd: int, data: bytes) -> int:
        """Do as os.write does on a disk with so much room left."""
        if self.room is None:
            return os.write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = os.write(fd, data[: self.room])
        self.room -= done
        return done


def _all(spool: Spool) -> list[Entry]:
    """Take everything out that is not on its way."""
    return list(iter(spool.next_kept, None))


class SpoolMachine(RuleBasedStateMachine):
    """A spool beside a model: a list of what is to come out, and what is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="spool-"))
        self.source = Source()
        self.disk = Disk()
        self.now_us = 1_000_000
        self.incarnation = 0
        # In order of measurement.
        self.waiting: list[Key] = []
        self.handed: list[Key] = []
        self.postponed: set[Key] = set()
        self.spool = self._open(BOOT)

    def _open(self, boot: bytes) -> Spool:
        return Spool(
            self.root / str(self.incarnation),
            boot=boot,
            bounds=BOUNDS,
            clock=lambda: self.now_us,
            files=self.disk,
        )

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.spool.close()
        shutil.rmtree(self.root)

    @rule(ticks=st.integers(1, 12), new_layout=st.booleans())
    def put(self, ticks: int, new_layout: bool) -> None:
        """A Report is measured."""
        if new_layout:
            self.source.new_layout()
        entry = self.source.entry(ticks)
        self.now_us += 1_000_000
        self.spool.put(entry)
        self.waiting.append(entry.key)

    def _is_as_given(self, entry: Entry) -> None:
        assert entry.report.SerializeToString() == self.source.given[entry.key]
        assert entry.layout == self.source.node.layouts[entry.report.layout_hash]

    @rule()
    def send_kept(self) -> None:
        """The oldest Report that is not on its way is handed out."""
        entry = self.spool.next_kept()
        expected = [key for key in self.waiting if key not in self.handed and key not in self.postponed]
        assert (entry.key if entry else None) == (expected[0] if expected else None)
        if entry is not None:
            self._is_as_given(entry)
            self.handed.append(entry.key)

    @rule()
    def send_live(self) -> None:
        """One of the newest Reports is handed out."""
        entry = self.spool.next_live()
        if entry is not None:
            assert entry.key in self.waiting
            assert entry.key not in self.handed
            self._is_as_given(entry)
            self.handed.append(entry.key)
            self.postponed.discard(entry.key)

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """A collector has one of those that were sent."""
        key = data.draw(st.sampled_from(self.handed))
        entry = self.spool.get(key)
        assert entry is not None
        self._is_as_given(entry)
        self.spool.remove(key)
        self.handed.remove(key)
        self.waiting.remove(key)

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def postpone(self, data: st.DataObject) -> None:
        """A collector refuses one of those that were sent, for now."""
        key = data.draw(st.sampled_from(self.handed))
        self.spool.postpone(key)
        self.handed.remove(key)
        self.postponed.add(key)

    @rule()
    def later(self) -> None:
        """Time passes: what was refused is offered again, and a full disk is tried again."""
        if self.postponed:
            self.now_us += 300_000_000
            self.postponed.clear()
        self.now_us += 5_000_000

    @rule()
    def lose_the_stream(self) -> None:
        """The stream breaks: what was on its way is offered again."""
        self.spool.rewind()
        self.handed.clear()
        self.postponed.clear()

    @rule(room=st.integers(0, 2000))
    def fill_the_disk(self, room: int) -> None:
        """The disk has little room left."""
        self.disk.room = room

    @rule()
    def free_the_disk(self) -> None:
        """There is room again."""
        self.disk.room = None

    def _die(self) -> Path:
        """End without a word; return a copy of what is on disk."""
        # The spool says that it is in trouble while there is something in memory.
        in_memory = self._in_memory()
        assert self.spool.trouble or not in_memory
        before = self.root / str(self.incarnation)
        self.incarnation += 1
        after = self.root / str(self.incarnation)
        shutil.copytree(before, after)
        self.spool.close()
        shutil.rmtree(before)
        self.disk.room = None
        self.waiting = [key for key in self.waiting if key not in in_memory]
        self.handed.clear()
        self.postponed.clear()
        return after

    def _in_memory(self) -> set[Key]:
        """Return what the disk did not take: of the newest Reports only those since it was full."""
        on_disk: set[Key] = set()
        for path in (self.root / str(self.incarnation)).glob("*.segment"):
            for record in _records(path.read_bytes()):
                on_disk.update(_key(record))
        keys = [key for key in self.waiting if key not in on_disk]
        assert self.waiting[len(self.waiting) - len(keys) :] == keys
        return set(keys)

    @rule()
    def kill(self) -> None:
        """The agent is killed and begins anew: nothing that was on disk is lost, and nothing comes back."""
        self._die()
        self.spool = self._open(BOOT)

    @rule(data=st.data())
    def cut_the_power(self, data: st.DataObject) -> None:
        """The newest segment is cut anywhere, and read after another boot: only what was cut is lost."""
        segments = sorted(self._die().glob("*.segment"))
        lost: set[Key] = set()
        if segments:
            whole = segments[-1].read_bytes()
            keep = data.draw(st.integers(0, len(whole)))
            segments[-1].write_bytes(whole[:keep])
            lost = {k for r in _records(whole) for k in _key(r) if _end(r) > keep}
        self._begin_again(OTHER_BOOT, lost)

    @rule(data=st.data())
    def flip_a_byte(self, data: st.DataObject) -> None:
        """A byte of a segment changes: at most what it stands in is lost."""
        segments = sorted(self._die().glob("*.segment"))
        maybe: set[Key] = set()
        if segments:
            path = data.draw(st.sampled_from(segments))
            whole = bytearray(path.read_bytes())
            place = data.draw(st.integers(0, len(whole) - 1))
            whole[place] ^= data.draw(st.integers(1, 255))
            found = _records(path.read_bytes())
            path.write_bytes(whole)
            hit = next((r for r in found if r.offset <= place < _end(r)), None)
            maybe = set(_key(hit)) if hit is not None else set()
        self._begin_again(BOOT, maybe)

    def _begin_again(self, boot: bytes, maybe_lost: set[Key]) -> None:
        """Open what was damaged: only what the damage hit may be missing, or sent though it was done with."""
        maybe_lost |= self._without_layout()
        self.spool = self._open(boot)
        left = [entry.key for entry in _all(self.spool)]
        self.spool.rewind()
        assert set(left) ^ set(self.waiting) <= maybe_lost
        assert left == sorted(left, key=lambda key: key[1])
        self.waiting = left

    def _without_layout(self) -> set[Key]:
        """Return the Reports whose Layout no segment has any more."""
        found = [
            record
            for path in (self.root / str(self.incarnation)).glob("*.segment")
            for record in _records(path.read_bytes())
        ]
        known = {layout_hash(record.payload) for record in found if record.kind == Kind.LAYOUT}
        reports = [r.payload for r in found if r.kind == Kind.REPORT]
        parsed = [report_pb2.Report.FromString(payload) for payload in reports]
        return {(r.boot, r.sequence) for r in parsed if r.layout_hash not in known}

    @invariant()
    def counts(self) -> None:
        """The spool knows how many Reports wait."""
        assert len(self.spool) == len(self.waiting)

    @invariant()
    def a_quiet_spool_is_small(self) -> None:
        """Segments of which nothing is left are gone, but for the one that is written to."""
        if not self.waiting:
            assert len(list((self.root / str(self.incarnation)).glob("*.segment"))) <= 1


def _records(data: bytes) -> list[Record]:
    return [found for found in records.scan(data) if isinstance(found, Record)]


def _end(record: Record) -> int:
    return record.offset + records.RECORD_BYTES + len(record.payload)


def _key(record: Record) -> Iterator[Key]:
    if record.kind == Kind.REPORT:
        report = report_pb2.Report.FromString(record.payload)
        yield report.boot, report.sequence


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
