"""Keeps what the server took until it is there for good.

The server answers before anything is on its disk: what it took in the last seconds is lost when it is killed,
and samples that are too old, or beyond a limit of its own, it drops without a word. So the whole of a Report
stays with the facts until a minute has passed since it was written, many times as long as the server takes to
write to its disk, and it then shows every sample. What it does not show is written again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from joulebook.collector.facts.mark import Booking, Mark
from joulebook.collector.facts.protocol import Facts
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.influxdb_lines import requests
from joulebook.collector.store.victoriametrics.content import ROW, Content, Samples, booked_as, slots
from joulebook.collector.store.victoriametrics.exported import exported
from joulebook.collector.store.victoriametrics.lines import Lines
from joulebook.collector.store.victoriametrics.server import VictoriaServer

_log = logging.getLogger(__name__)

# The server writes to its disk every few seconds.
SETTLES_S = 60.0
_EVERY_S = 10.0
# Reports further apart than this are looked for one by one.
_APART_US = 600_000_000
# As many as one look takes into memory.
_AT_ONCE = 500
_ROWS = [f"ledger_{name}" for name in ROW]
LayoutOf = Callable[[str, int], NodeLayout]
Whole = tuple[Mark, NodeLayout, Content]


class Keeping:
    """Looks after what is kept. Times are of a clock that nobody sets."""

    def __init__(self, server: VictoriaServer, facts: Facts, layout_of: LayoutOf) -> None:
        self._server = server
        self._facts = facts
        self._layout_of = layout_of
        self._lines = Lines(facts.books)
        # When each was written last. Of those that another process wrote it is not known, and taken for now.
        self._written_s: dict[Booking, float] = {}
        self._looked_s = float("-inf")

    def write(self, reports: Sequence[Whole]) -> None:
        """Write Reports to the server. Raises StoreError."""
        pieces = (
            piece for mark, layout, content in reports for piece in self._lines.of(layout, mark, content)
        )
        for body in requests(pieces):
            self._server.write(body)

    def wrote(self, marks: Sequence[Mark], now_s: float) -> None:
        """Note when Reports were written, each by the booking that its mark names."""
        self._written_s |= {_booking(mark): now_s for mark in marks}

    def look(self, now_s: float) -> None:
        """Let go of what is there for good, and write again what is not. Raises StoreError."""
        if now_s - self._looked_s < _EVERY_S:
            return
        kept = self._facts.kept_marks()
        due = [m for m in kept if now_s - self._written_s.setdefault(_booking(m), now_s) >= SETTLES_S]
        whole, rows = ([m for m in due if bool(m.booking) is alone] for alone in (False, True))
        for together in (*_together(whole), *_together(rows)):
            self._look_for(together, now_s)
        self._looked_s = now_s

    def _look_for(self, marks: Sequence[Mark], now_s: float) -> None:
        ends = [mark.end_unix_us for mark in marks]
        kept = self._facts.kept(min(ends) - 1, max(ends), None)
        all_slots = [slots(mark) for mark in marks]
        stretch = int(min(s[0] for s in all_slots)), int(max(s[-1] for s in all_slots))
        numbers = {mark.booking for mark in marks}
        if 0 in numbers:
            found = exported(self._server, self._facts.books, *stretch)
        else:
            bookings = {booked_as(number) for number in numbers}
            found = exported(self._server, self._facts.books, *stretch, _ROWS, bookings=bookings)
        there, lacking = [], []
        for mark in marks:
            layout = self._layout_of(mark.node, mark.layout)
            content = Content.unpacked(kept[_booking(mark)], layout, mark.booking)
            if _holds(found, content.samples(layout, mark)):
                there.append(_booking(mark))
            else:
                lacking.append((mark, layout, content))
        if lacking:
            _log.warning(
                "store %s: does not show all of %d Reports that it took, the first of %s; they are written "
                "again. Was it killed? Is its disk full? See -retentionPeriod, its limits and its log",
                self._server.address.url,
                len(lacking),
                lacking[0][0].node,
            )
            self.write(lacking)
            self.wrote([mark for mark, _, _ in lacking], now_s)
        self._facts.release(there)
        for name in there:
            del self._written_s[name]


def _booking(mark: Mark) -> Booking:
    return mark.name, mark.booking


def _together(marks: Sequence[Mark]) -> Iterator[list[Mark]]:
    """Split Reports so that those of one part are near each other in time."""
    part: list[Mark] = []
    for mark in sorted(marks, key=lambda m: m.end_unix_us):
        if part and (len(part) >= _AT_ONCE or mark.start_unix_us - part[-1].end_unix_us > _APART_US):
            yield part
            part = []
        part.append(mark)
    if part:
        yield part


def _holds(found: Samples, wanted: Samples) -> bool:
    for series, (times, values) in wanted.items():
        own = found.get(series)
        if own is None or not np.isin(times, own[0]).all():
            return False
        if not np.array_equal(own[1][np.searchsorted(own[0], times)], values):
            return False
    return True
