"""Where a segment's bytes are: in a file, or in memory while no file can be written."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from joulebook.agent.spool import records
from joulebook.agent.spool.files import KERNEL, Files
from joulebook.agent.spool.records import RECORD_BYTES, Kind, State

# Most Reports are shorter: one read fetches head and payload.
_FIRST_READ_BYTES = 4096


class Body(Protocol):
    """Takes Reports one after another and gives them back by their place."""

    size: int

    def add(self, report: bytes, layout_hash: int, layout: bytes, state: State) -> int:
        """Take a serialised Report in; return its place. Raises OSError with nothing taken."""

    def report(self, place: int) -> bytes | None:
        """Return a Report's bytes; None where they are not sound any more."""

    def layout(self, hash_: int) -> bytes | None:
        """Return a Layout's bytes, where it is here."""

    def mark(self, place: int, state: State) -> None:
        """Note a Report's state."""

    def close(self) -> None:
        """Give the descriptor back until it is needed again."""

    def remove(self) -> None:
        """Let go of everything."""


class File:
    """A segment's file. What add() returned for outlives this process; a sync makes it outlive the power.

    close() gives the descriptor back until the file is used again, but nothing is added after it.
    """

    def __init__(self, path: Path, size: int, layouts: dict[int, int], files: Files = KERNEL) -> None:
        self.path = path
        self.size = size
        self.synced = True
        self._fd = -1
        self._files = files
        # Where each Layout is, by its hash.
        self._layouts = layouts

    @classmethod
    def create(cls, path: Path, files: Files = KERNEL) -> "File":
        """Begin a segment. Raises OSError."""
        file = cls(path, 0, {}, files)
        file._fd = files.open(path, os.O_CREAT | os.O_EXCL)
        try:
            file._append(records.header())
        except OSError:
            file.remove()
            raise
        return file

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = self._files.open(self.path, 0)
        return self._fd

    def _append(self, data: bytes) -> None:
        """Write at the end, all or nothing. Raises OSError."""
        try:
            done = self._files.write(self._fd, data)
            while done < len(data):
                done += self._files.write(self._fd, data[done:])
        except OSError:
            # What is half there is no record. Where it cannot be cut off, nothing is added after it.
            with suppress(OSError):
                self._files.truncate(self._fd, self.size)
            raise
        self.size += len(data)
        self.synced = False

    def add(self, report: bytes, layout_hash: int, layout: bytes, state: State) -> int:
        """Take a serialised Report in; return its place. Raises OSError with nothing taken."""
        record = records.encode(Kind.REPORT, report, state)
        if layout_hash in self._layouts:
            self._append(record)
        else:
            # Each segment has every Layout that it needs, so that it can be read alone.
            place = self.size
            self._append(records.encode(Kind.LAYOUT, layout) + record)
            self._layouts[layout_hash] = place
        return self.size - len(record)

    def report(self, place: int) -> bytes | None:
        """Return a Report's bytes; None where they are not sound any more."""
        return self._read(place, Kind.REPORT)

    def layout(self, hash_: int) -> bytes | None:
        """Return a Layout's bytes, where it is here."""
        place = self._layouts.get(hash_)
        return None if place is None else self._read(place, Kind.LAYOUT)

    def adopt(self, hash_: int, layout: bytes) -> None:
        """Add a Layout that is damaged here, as another segment has it. Raises OSError."""
        place = self._files.seek_end(self._open())
        self.size = place
        self._append(records.encode(Kind.LAYOUT, layout))
        self._layouts[hash_] = place

    def _read(self, place: int, kind: Kind) -> bytes | None:
        try:
            data = self._files.read_at(self._open(), _FIRST_READ_BYTES, place)
            missing = RECORD_BYTES + records.payload_bytes(data) - len(data)
            if missing > 0:
                data += self._files.read_at(self._fd, missing, place + len(data))
        except OSError:
            return None
        record = records.decode(data)
        return record.payload if record and record.kind == kind else None

    def mark(self, place: int, state: State) -> None:
        """Note a Report's state in place. Lost with the power, it costs a repetition."""
        with suppress(OSError):
            head = self._files.read_at(self._open(), RECORD_BYTES, place)
            if len(head) == RECORD_BYTES:
                word = records.state_word(state, records.checksum_of(head))
                self._files.write_at(self._fd, word, place + records.STATE_OFFSET)

    def duplicate_fd(self) -> int:
        """Return a descriptor of its own of the file, for a sync beside everything else."""
        return self._files.duplicate(self._open())

    def close(self) -> None:
        """Give the descriptor back until it is needed again."""
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Delete the file."""
        self.close()
        with suppress(OSError):
            self._files.remove(self.path)


class Memory:
    """Reports in memory: lost with the agent."""

    def __init__(self) -> None:
        self.size = 0
        self._reports: dict[int, bytes] = {}
        self._layouts: dict[int, bytes] = {}
        self._next = 0

    def add(self, report: bytes, layout_hash: int, layout: bytes, state: State) -> int:
        """Take a serialised Report in; return its place."""
        del state
        self._layouts[layout_hash] = layout
        self._reports[self._next] = report
        self.size += len(report)
        self._next += 1
        return self._next - 1

    def report(self, place: int) -> bytes | None:
        """Return a Report's bytes."""
        return self._reports.get(place)

    def layout(self, hash_: int) -> bytes | None:
        """Return a Layout's bytes, where it is here."""
        return self._layouts.get(hash_)

    def mark(self, place: int, state: State) -> None:
        """Forget what is done with."""
        if state is State.DONE:
            self._reports.pop(place, None)

    def close(self) -> None:
        """Hold no descriptor."""

    def remove(self) -> None:
        """Let go of everything."""
        self._reports.clear()
        self._layouts.clear()
