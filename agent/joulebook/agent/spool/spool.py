"""A durable outbox: Reports in segment files, in the order in which they were measured.

put() writes a Report before it returns, so the agent's own death loses nothing; the keeper's fdatasync makes
it outlive the power. What is acknowledged is marked in place, and a segment with nothing left is deleted.
Where the disk takes nothing, Reports go on in memory, in order, and to the disk when it takes them again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.outbox import Entry, Key
from joulebook.agent.source import Finding
from joulebook.agent.spool import standing
from joulebook.agent.spool.body import Memory
from joulebook.agent.spool.files import KERNEL, Files
from joulebook.agent.spool.keeper import Bounds, Keeper
from joulebook.agent.spool.records import State
from joulebook.agent.spool.segment import Segment
from joulebook.agent.spool.shelf import Shelf
from joulebook.agent.spool.standing import Counts

_log = logging.getLogger(__name__)

# How many of the newest Reports go out ahead of what waits.
LIVE = 8
_REFUSED_AGAIN_US = 300_000_000


class Spool:
    """An Outbox on disk; without a directory, or until it can be used, in memory.

    Its lock is held for moments, never over a sync.

    Raises SpoolTakenError where another agent has the directory.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        boot: bytes = bytes(16),
        bounds: Bounds | None = None,
        fsync_us: int = 5_000_000,
        memory_reports: int = 8640,
        clock: Callable[[], int] = boot_us,
        files: Files = KERNEL,
    ) -> None:
        bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self.counts = Counts()
        self._shelf = Shelf(directory, boot, bounds.max_bytes, clock, files, self.counts)
        self.keeper = Keeper(self._shelf, self._lock, self.counts, boot, bounds, clock, self._say_changed)
        self._fsync_us = fsync_us
        self._memory_reports = memory_reports
        self._clock = clock
        self._changed: Callable[[], None] = lambda: None
        self._handed: dict[Key, tuple[Segment, int]] = {}
        # Live Reports are sent as they are, not read back.
        self._fresh: deque[tuple[Segment, int, Entry]] = deque(maxlen=LIVE)
        self._refused_again_us = 0
        self._standing = standing.Standing(self.counts, clock)
        if len(self):
            _log.info("spool %s: %d reports of before are to be sent", directory, len(self))

    def start(self) -> None:
        """Begin to sync and to keep the bounds, in a thread of its own."""
        self.keeper.start()

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have changed called, from any thread, whenever there is more to hand out."""
        self._changed = changed

    def put(self, entry: Entry) -> None:
        """Take a Report in. Never fails: what the disk does not take stays in memory."""
        with self._lock:
            earlier, active = self._shelf.pending, self._shelf.active
            segment, number = self._shelf.add(entry)
            if self._shelf.moved:
                self._follow()
            self._fresh.append((segment, number, entry))
            if isinstance(segment.body, Memory):
                self.counts.dropped += self._shelf.bound_memory(self._memory_reports)
            # While Reports are acknowledged as they come there is nothing to save from a power cut.
            due = earlier and self._clock() - self.keeper.synced_us >= self._fsync_us
            due = due or self._shelf.active is not active
        if due:
            self.keeper.wake()
        self._changed()

    def _follow(self) -> None:
        """Look for what is on its way where it was moved to."""
        moved = self._shelf.moved
        for key, place in self._handed.items():
            self._handed[key] = moved.get(place, place)
        moved.clear()

    def _say_changed(self) -> None:
        self._changed()

    def next_live(self) -> Entry | None:
        """Hand out the oldest of the few newest Reports."""
        with self._lock:
            while self._fresh:
                segment, number, entry = self._fresh.popleft()
                if not segment.gone and not segment.busy and segment.is_waiting(number):
                    return self._hand_out(segment, number, entry)
            return None

    def next_kept(self) -> Entry | None:
        """Hand out the oldest Report of all."""
        with self._lock:
            if self._refused_again_us and self._clock() >= self._refused_again_us:
                self._refused_again_us = 0
                self._to_the_start()
            for segment in list(self._shelf.segments):
                if segment.busy:
                    # What comes after it would not be in order; it is told when this one is done.
                    return None
                while (number := segment.next()) is not None:
                    entry = self._shelf.entry(segment, number)
                    if entry is not None:
                        return self._hand_out(segment, number, entry)
                    where = self._shelf.directory
                    _log.error("spool %s: a report cannot be read any more; left out", where)
                    self.counts.damaged += 1
                    self._shelf.done(segment, number)
            return None

    def _hand_out(self, segment: Segment, number: int, entry: Entry) -> Entry:
        """Note that a Report is about to be sent."""
        # Before it is sent: what may have been received is never changed.
        segment.mark(number, State.SENT)
        segment.handed.add(number)
        self._handed[entry.key] = (segment, number)
        return entry

    def get(self, key: Key) -> Entry | None:
        """Return a Report that was handed out."""
        with self._lock:
            place = self._handed.get(key)
            return self._shelf.entry(*place) if place else None

    def remove(self, key: Key) -> None:
        """Forget a Report that was handed out: it is durable at a collector."""
        with self._lock:
            if (place := self._take_back(key)) is not None:
                self._shelf.done(*place)

    def refuse(self, key: Key) -> None:
        """Forget a Report that was handed out: no collector will ever take it."""
        self.counts.refused += key in self._handed
        self.remove(key)

    def postpone(self, key: Key) -> None:
        """Take back a Report that is refused now; it is offered again some minutes later."""
        with self._lock:
            if (place := self._take_back(key)) is not None:
                place[0].postponed.add(place[1])
                if not self._refused_again_us:
                    self._refused_again_us = self._clock() + _REFUSED_AGAIN_US

    def _take_back(self, key: Key) -> tuple[Segment, int] | None:
        if (place := self._handed.pop(key, None)) is not None:
            place[0].handed.discard(place[1])
        return place

    def rewind(self) -> None:
        """Take back everything that was handed out and not removed: it is offered again."""
        with self._lock:
            for key in list(self._handed):
                self._take_back(key)
            self._to_the_start()

    def _to_the_start(self) -> None:
        for segment in self._shelf.segments:
            segment.rewind()

    def findings(self) -> tuple[Finding, ...]:
        """Return how the spool stands, where that changed since the last call."""
        if not self._standing.is_due(self._shelf.trouble):
            return ()
        with self._lock:
            waiting = self._shelf.pending - len(self._handed)
            oldest_us = self._shelf.segments[0].oldest_us if self._shelf.segments else 0
            size_bytes = self._shelf.size_bytes()
        backlog = "" if waiting <= LIVE else standing.backlog(waiting, size_bytes, self._clock() - oldest_us)
        return self._standing.tell(backlog, self._shelf.trouble)

    @property
    def trouble(self) -> str:
        """Return what is wrong with the disk; empty: nothing."""
        return self._shelf.trouble

    def size_bytes(self) -> int:
        """Return how many bytes there are on disk."""
        with self._lock:
            return self._shelf.size_bytes()

    def __len__(self) -> int:
        """Count what is not acknowledged."""
        return self._shelf.pending

    def close(self) -> None:
        """Sync and give everything back; the Reports stay on disk."""
        self.keeper.stop()
        with self._lock:
            self._shelf.close()
