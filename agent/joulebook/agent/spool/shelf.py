"""The segments of a spool in order, and which of them takes the next Report."""

import logging
from collections.abc import Callable
from pathlib import Path

from joulebook.agent.outbox import Entry
from joulebook.agent.spool import directory as places
from joulebook.agent.spool.body import File, Memory
from joulebook.agent.spool.files import Files
from joulebook.agent.spool.records import State
from joulebook.agent.spool.segment import Segment
from joulebook.agent.spool.standing import Counts
from joulebook.v1 import report_pb2

# A Report in its segment, by its number.
Place = tuple[Segment, int]

_log = logging.getLogger(__name__)

_SEGMENT_BYTES = 1 << 20
# A segment of which nothing is left begins anew at this size: with a collector there, the spool stays small.
_SMALL_BYTES = 1 << 16
_DISK_AGAIN_US = 5_000_000


class Shelf:
    """Adds Reports to the newest segment, in memory while the disk takes none. Not for two threads at once.

    Segments in memory are always the last ones. A directory that cannot be used at the start is taken when it
    can, with what an agent before left in it. Raises SpoolTakenError where another agent has it at the start.
    """

    def __init__(
        self,
        directory: Path | None,
        boot: bytes,
        max_bytes: int,
        clock: Callable[[], int],
        files: Files,
        counts: Counts,
    ) -> None:
        self.directory = directory
        self.segments: list[Segment] = []
        self.active: Segment | None = None
        self.pending = 0
        # What is wrong with the disk, where something is.
        self.trouble = ""
        self.segment_bytes = min(_SEGMENT_BYTES, max_bytes // 8)
        self.counts = counts
        self.files = files
        self._boot = boot
        self._clock = clock
        self._next_number = 1
        self._disk_again_us = 0
        self._reading: Segment | None = None
        self._lock_fd = -1
        # Where Reports on their way went when they were moved to another segment: (segment, number) each.
        self.moved: dict[Place, Place] = {}
        if directory is not None:
            try:
                self._take()
            except OSError as error:
                # To measure and deliver is worth more than to keep.
                self._disk_again_us = clock() + _DISK_AGAIN_US
                self._note_trouble(error)

    def _take(self) -> None:
        """Take the directory, with what is in it. Raises OSError, or SpoolTakenError."""
        assert self.directory is not None
        fd = places.take(self.directory, self.files)
        try:
            found, self._next_number, damages = places.recover(self.directory, self._boot, self.files)
        except OSError:
            self.files.close(fd)
            raise
        self._lock_fd = fd
        self.counts.damaged += damages.places
        # What is in memory is newer.
        self.segments[:0] = found
        self.pending += sum(segment.pending for segment in found)

    def _note_trouble(self, error: Exception) -> None:
        said = f"{self.directory}: {getattr(error, 'strerror', None) or error}"
        if not self.trouble:
            _log.error("spool %s; reports are kept in memory until it can be written", said)
        self.trouble = said

    def add(self, entry: Entry) -> tuple[Segment, int]:
        """Take a Report in; return where it is. Never fails: what the disk does not take stays in memory."""
        data = entry.report.SerializeToString()
        segment = self._place_for(len(data) + len(entry.layout))
        try:
            number = segment.add(entry, data)
        except OSError as error:
            segment = self._fall_back(error)
            number = segment.add(entry, data)
        self.pending += 1
        return segment, number

    def _place_for(self, size: int) -> Segment:
        """Return the segment that the next Report goes to."""
        active = self.active
        in_memory = active is not None and isinstance(active.body, Memory)
        if in_memory and self.directory is not None and self._clock() >= self._disk_again_us:
            self._return_to_disk()
            active = self.active
            in_memory = active is not None and isinstance(active.body, Memory)
        if active is not None:
            full = active.body.size + size > self.segment_bytes and len(active.states)
            if not full and (active.pending or active.body.size < _SMALL_BYTES):
                return active
        if in_memory or self._lock_fd < 0:
            return self._begin(Segment(Memory()))
        try:
            return self._begin(Segment(self._new_file()))
        except OSError as error:
            return self._fall_back(error)

    def _new_file(self) -> File:
        assert self.directory is not None
        file = File.create(places.path_of(self.directory, self._next_number), self.files)
        self._next_number += 1
        return file

    def _begin(self, segment: Segment) -> Segment:
        before, self.active = self.active, segment
        self.segments.append(segment)
        if before is not None:
            self.tidy(before)
        return segment

    def _fall_back(self, error: OSError) -> Segment:
        """Go on in memory."""
        self._disk_again_us = self._clock() + _DISK_AGAIN_US
        self._note_trouble(error)
        return self._begin(Segment(Memory()))

    def _return_to_disk(self) -> None:
        """Write what is in memory to a new segment, and go on there; or stay in memory."""
        memories = [segment for segment in self.segments if isinstance(segment.body, Memory)]
        file = None
        moved: dict[Place, Place] = {}
        try:
            if self._lock_fd < 0:
                self._take()
            file = self._new_file()
            segment = Segment(file)
            for memory in memories:
                for number in memory.unfinished():
                    if (entry := self.entry(memory, number)) is not None:
                        data = entry.report.SerializeToString()
                        to = segment.add(entry, data, State(memory.states[number]))
                        if number in memory.handed:
                            moved[memory, number] = segment, to
                        if number in memory.postponed:
                            segment.postponed.add(to)
        except (OSError, places.SpoolTakenError) as error:
            if file is not None:
                file.remove()
            self._note_trouble(error)
            self._disk_again_us = self._clock() + _DISK_AGAIN_US
            return
        # Those on their way stay so: whoever handed them out looks for them in their new place.
        segment.handed.update(number for _, number in moved.values())
        self.moved |= moved
        for memory in memories:
            memory.gone = True
            self.segments.remove(memory)
        self.segments.append(segment)
        self.active = segment
        self.trouble = ""
        _log.warning("spool %s can be written again; %d reports moved there", self.directory, segment.pending)

    def bound_memory(self, most: int) -> int:
        """Let the oldest Reports in memory go beyond so many; return how many did.

        The meters around them still tell their energy.
        """
        memories = [segment for segment in self.segments if isinstance(segment.body, Memory)]
        dropped = 0
        for segment in memories:
            for number in list(segment.unfinished()):
                if sum(memory.pending for memory in memories) <= most:
                    return dropped
                self.done(segment, number)
                dropped += 1
        return dropped

    def entry(self, segment: Segment, number: int) -> Entry | None:
        """Read a Report and its Layout; None where either is not sound any more."""
        if self._reading not in (None, segment, self.active):
            # One descriptor beside the active segment's is enough.
            self._reading.body.close()
        self._reading = segment
        data = segment.bytes_of(number)
        if data is None:
            return None
        report = report_pb2.Report.FromString(data)
        for one in (segment, *self.segments):
            if (layout := one.body.layout(report.layout_hash)) is not None:
                return Entry(report, layout)
        return None

    def done(self, segment: Segment, number: int) -> None:
        """Note that a Report is not needed any more."""
        # What is on its way may have gone beyond the bound meanwhile.
        if segment.gone or segment.states[number] == State.DONE:
            return
        segment.mark(number, State.DONE)
        self.pending -= 1
        if segment is not self.active and not segment.pending:
            self.tidy(segment)

    def tidy(self, segment: Segment) -> None:
        """Let a segment go that nothing is left in, else its descriptor."""
        segment.body.close()
        if not segment.pending and not segment.busy:
            segment.gone = True
            self.segments.remove(segment)
            segment.body.remove()

    def drop(self, segment: Segment) -> int:
        """Let a segment go whatever is in it; return how many Reports were."""
        dropped, segment.pending = segment.pending, 0
        self.pending -= dropped
        self.tidy(segment)
        return dropped

    def replace(self, old: Segment, new: Segment) -> None:
        """Put a segment that holds the same in the old one's place; the old one's body is left alone."""
        self.segments[self.segments.index(old)] = new
        self.pending += new.pending - old.pending
        old.gone = True
        old.body.close()

    def size_bytes(self) -> int:
        """Return how many bytes there are on disk."""
        return sum(s.body.size for s in self.segments if isinstance(s.body, File))

    def close(self) -> None:
        """Give the descriptors back; the files stay."""
        for segment in self.segments:
            segment.body.close()
        if self._lock_fd >= 0:
            self.files.close(self._lock_fd)
            self._lock_fd = -1
