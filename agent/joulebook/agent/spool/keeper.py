"""What is done to the spool beside the ticks: syncs, and its bounds in size and age."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.body import File
from joulebook.agent.spool.records import State
from joulebook.agent.spool.segment import FULL, JOINED, THINNED, Segment
from joulebook.agent.spool.shelf import Shelf
from joulebook.agent.spool.standing import Counts
from joulebook.agent.spool.thinning import join, thin

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a spool may hold. What has waited for half of max_age_us is thinned."""

    max_bytes: int = 64 << 20
    max_age_us: int = 7 * 86_400_000_000


class Keeper:
    """Syncs, thins and drops, from a thread of its own, so that neither a tick nor an answer waits for it."""

    def __init__(
        self,
        shelf: Shelf,
        lock: threading.Lock,
        counts: Counts,
        boot: bytes,
        bounds: Bounds,
        clock: Callable[[], int],
        rewritten: Callable[[], None],
    ) -> None:
        self._shelf, self._lock, self._counts = shelf, lock, counts
        self._boot, self._bounds = boot, bounds
        self._clock = clock
        self._rewritten = rewritten
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._failing = False
        self.synced_us = 0

    def start(self) -> None:
        """Begin; what an agent before left is brought within the bounds first."""
        self._due.set()
        self._thread.start()

    def wake(self) -> None:
        """Have a sync made and the bounds kept soon."""
        self._due.set()

    def stop(self) -> None:
        """End after a last sync."""
        self._stopping = True
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()
        self.sync()

    def _run(self) -> None:
        while not self._stopping:
            self._due.wait()
            try:
                self.turn()
            except Exception:
                # Without it nothing would be synced any more, nor kept within its bounds.
                _log.exception("spool %s: cannot be kept now", self._shelf.directory)

    @property
    def is_due(self) -> bool:
        """Return whether there is something to do."""
        return self._due.is_set()

    def turn(self) -> None:
        """Do what is due, as the keeper's thread does whenever it is woken."""
        self._due.clear()
        self.sync()
        self.keep_bounds()

    def sync(self) -> None:
        """Make everything that was put in outlive the power."""
        self.synced_us = self._clock()
        files = self._shelf.files
        with self._lock:
            fds = list(self._unsynced())
        if not fds:
            return
        try:
            for fd in fds:
                files.sync(fd)
            if self._shelf.directory is not None:
                files.sync_directory(self._shelf.directory)
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.error("spool %s: cannot be synced: %s", self._shelf.directory, error.strerror or error)
            self._failing = True
        finally:
            for fd in fds:
                files.close(fd)

    def _unsynced(self) -> Iterator[int]:
        for segment in self._shelf.segments:
            body = segment.body
            if isinstance(body, File) and not body.synced:
                body.synced = True
                with suppress(OSError):
                    yield body.duplicate_fd()

    def keep_bounds(self) -> None:
        """Thin, join and at last drop the oldest Reports until the spool is within its bounds."""
        for segment in self._closed():
            age_us = self._age_us(segment)
            if age_us > self._bounds.max_age_us and not segment.handed:
                self._drop(segment)
            elif age_us > self._bounds.max_age_us // 2 and segment.level < JOINED:
                self._rewrite(segment, JOINED)
        # A new segment may be begun while this is done.
        most = self._bounds.max_bytes - self._shelf.segment_bytes
        failed = False
        for level in (THINNED, JOINED):
            for segment in self._closed():
                if self._size_bytes() <= most:
                    return
                if segment.level < level:
                    failed |= not self._rewrite(segment, level)
        if failed and self._size_bytes() <= self._bounds.max_bytes:
            # Detail goes before joules: while there is room, what cannot be written anew is tried again.
            return
        for segment in self._closed():
            if self._size_bytes() <= most:
                return
            # What is on its way is not dropped: its segment is gone as soon as it is acknowledged.
            if not segment.handed:
                self._drop(segment)

    def _closed(self) -> list[Segment]:
        with self._lock:
            active = self._shelf.active
            return [s for s in self._shelf.segments if s is not active and isinstance(s.body, File)]

    def _size_bytes(self) -> int:
        with self._lock:
            return self._shelf.size_bytes()

    def _age_us(self, segment: Segment) -> int:
        """Return how long a segment has surely waited: of an earlier boot only this boot's time is sure.

        The wall clock is not asked: one that is set wrongly must not cost a joule.
        """
        now_us = self._clock()
        return now_us - segment.newest_us if segment.newest_boot == self._boot else now_us

    def _drop(self, segment: Segment) -> None:
        with self._lock:
            if segment.gone:
                return
            dropped = self._shelf.drop(segment)
            self._counts.dropped += dropped
        if dropped:
            _log.error(
                "spool %s: its bound is reached; the %d oldest reports were dropped",
                self._shelf.directory,
                dropped,
            )

    def _rewrite(self, old: Segment, level: int) -> bool:
        """Write a segment anew: without what is done with, and with what was never sent made smaller.

        Return False where the disk did not let it; the segment is as it was then.
        """
        with self._lock:
            if old.gone or old.handed:
                return True
            if level > FULL and not any(s != State.SENT for s in old.states):
                old.level = level
                return True
            old.busy = True
        body = old.body
        assert isinstance(body, File)
        path = body.path.with_suffix(".segment.new")
        files = self._shelf.files
        file = new = None
        try:
            file = File.create(path, files)
            new = self._written(old, file, level)
            fd = file.duplicate_fd()
            try:
                files.sync(fd)
            finally:
                files.close(fd)
            files.rename(path, body.path)
            file.path, file.synced = body.path, True
            file.close()
        except OSError as error:
            if file is not None:
                file.remove()
            _log.warning("spool %s: cannot be thinned: %s", body.path, error.strerror or error)
            new = None
        with self._lock:
            old.busy = False
            if new is not None:
                self._shelf.replace(old, new)
                if not new.pending:
                    self._shelf.tidy(new)
            elif not old.pending:
                self._shelf.tidy(old)
        self._rewritten()
        return new is not None

    def _written(self, old: Segment, file: File, level: int) -> Segment:
        new = Segment(file, level=level)
        for entry, state, postponed in self._smaller(old, level):
            number = new.add(entry, entry.report.SerializeToString(), state)
            if postponed:
                new.postponed.add(number)
        return new

    def _smaller(self, old: Segment, level: int) -> Iterator[tuple[Entry, State, bool]]:
        """Yield what is left of a segment, in order, and whether it was refused for now."""
        waiting: Entry | None = None
        for number in list(old.unfinished()):
            state = State(old.states[number])
            with self._lock:
                entry = self._shelf.entry(old, number)
            if entry is None:
                self._counts.damaged += 1
                continue
            if state is State.KEPT:
                thinned = Entry(*thin(entry.report, entry.layout))
                self._counts.thinned += thinned.layout != entry.layout or thinned.report != entry.report
                joint = (
                    join(waiting.report, thinned.report, thinned.layout)
                    if waiting and level == JOINED
                    else None
                )
                if joint is not None:
                    self._counts.joined += 1
                    waiting = Entry(joint, thinned.layout)
                    continue
                entry = thinned
            if waiting is not None:
                yield waiting, State.KEPT, False
                waiting = None
            if state is State.KEPT:
                waiting = entry
            else:
                yield entry, state, number in old.postponed
        if waiting is not None:
            yield waiting, State.KEPT, False
