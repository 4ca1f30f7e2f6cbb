"""A run of Reports in the order in which they were measured, and what became of each."""

from array import array
from collections.abc import Iterator

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.body import Body
from joulebook.agent.spool.records import State
from joulebook.v1 import report_pb2

# How far a segment was thinned: not; each Report by itself; adjacent ones joined too.
FULL, THINNED, JOINED = range(3)


class Segment:
    """Reports by their number in a body. Nine bytes a Report are kept in memory, the rest is in the body."""

    def __init__(self, body: Body, *, level: int = FULL) -> None:
        self.body = body
        self.level = level
        self.states = bytearray()
        self._places = array("Q")
        self.pending = 0
        # Numbers of Reports that are on their way.
        self.handed: set[int] = set()
        # Numbers of Reports that were refused for now; empty after the next rewind.
        self.postponed: set[int] = set()
        # Those before it were handed out since the last rewind.
        self.cursor = 0
        # Being written anew: nothing is handed out of it meanwhile.
        self.busy = False
        # No part of the spool any more.
        self.gone = False
        self.newest_boot = b""
        self.newest_us = 0
        self.oldest_us = 0

    def add(self, entry: Entry, report: bytes, state: State = State.KEPT) -> int:
        """Take a Report in, whose bytes are given beside it; return its number. Raises OSError."""
        place = self.body.add(report, entry.report.layout_hash, entry.layout, state)
        return self.note(place, state, entry.report)

    def note(self, place: int, state: State, report: report_pb2.Report) -> int:
        """Note a Report that is in the body."""
        if not self.states:
            self.oldest_us = report.sequence
        self.newest_boot = report.boot
        self.newest_us = report.sequence + sum(report.interval_us)
        self._places.append(place)
        self.states.append(state)
        self.pending += state != State.DONE
        return len(self.states) - 1

    def bytes_of(self, number: int) -> bytes | None:
        """Return a Report's bytes; None where they are not sound any more."""
        return self.body.report(self._places[number])

    def mark(self, number: int, state: State) -> None:
        """Note what became of a Report; what is done with stays so."""
        before = self.states[number]
        if state > before:
            self.states[number] = state
            self.pending -= state == State.DONE
            self.body.mark(self._places[number], state)

    def next(self) -> int | None:
        """Return the number of the oldest Report that was not handed out since the last rewind."""
        while self.cursor < len(self.states):
            number = self.cursor
            self.cursor += 1
            if self.is_waiting(number) and number not in self.postponed:
                return number
        return None

    def is_waiting(self, number: int) -> bool:
        """Return whether a Report is neither done with nor on its way."""
        return self.states[number] != State.DONE and number not in self.handed

    def rewind(self) -> None:
        """Offer again, from the oldest on, what is not on its way."""
        self.cursor = 0
        self.postponed.clear()

    def unfinished(self) -> Iterator[int]:
        """Yield the numbers of what is not done with, oldest first."""
        for number, state in enumerate(self.states):
            if state != State.DONE:
                yield number
