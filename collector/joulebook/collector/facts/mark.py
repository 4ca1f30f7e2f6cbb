"""Sequence marks: what is kept of every Report. A Report without its mark was never there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import MAX_INTERVALS, Decoded
from joulebook.collector.ingest.layout_checks import MAX_SERIES
from joulebook.collector.ingest.sequence import Span, span_of
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.holes import Start
from joulebook.collector.ledger.layout import NodeLayout

# Of a Report: intervals, or energies of domains.
_MOST = max(MAX_INTERVALS, MAX_SERIES)
Ints = npt.NDArray[np.int64]
# A Report's name: node, boot, and its start on the boot clock.
Name = tuple[str, bytes, int]
# A Report's name, and which of its bookings: 0 is the one that it was committed with.
Booking = tuple[Name, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """A Report as its mark tells of it.

    clock is empty, or tells apart Reports that a node's wall clock showed at the same time, being set back.
    booking: which of the Report's rows count; 0: those that it was committed with.
    """

    node: str
    boot: bytes
    clock: str
    end_unix_us: int
    start_us: int
    end_us: int
    start_unix_us: int
    ledger_rows: int
    unread_us: int
    raised_uj: int
    layout: int
    interval_us: str
    first_uj: str
    last_uj: str
    booking: int = 0

    @property
    def name(self) -> Name:
        """Return the Report's name."""
        return self.node, self.boot, self.start_us

    @property
    def start(self) -> Start:
        """Return when the Report began."""
        return Start(self.boot, self.start_us)

    def span(self, layout: NodeLayout) -> Span:
        """Return its place on the node's boot clock."""
        first, last = numbers(self.first_uj), numbers(self.last_uj)
        return Span(Edge(layout, self.start_us, first), Edge(layout, self.end_us, last), self.start_unix_us)

    def ticks_us(self) -> tuple[Ints, Ints]:
        """Return the wall clock at the end of each interval, and each interval's length."""
        lengths = numbers(self.interval_us)
        return self.start_unix_us + np.cumsum(lengths), lengths


def free_clock(used: Collection[str]) -> str:
    """Return the first clock that is not used: empty, 1, 2, …"""
    # One by one: this is asked for every Report.
    return next(clock for clock in chain([""], map(str, count(1))) if clock not in used)


def marks_of(reports: Sequence[Decoded], books: Books, clocks: Sequence[str]) -> list[Mark]:
    """Return the marks of Reports that were booked."""
    rows = np.bincount(books.report, minlength=len(reports)).tolist()
    return [
        _mark(decoded, clocks[i], rows[i], int(books.unread_us[i]), int(books.raised_uj[i]))
        for i, decoded in enumerate(reports)
    ]


def _mark(decoded: Decoded, clock: str, ledger_rows: int, unread_us: int, raised_uj: int) -> Mark:
    layout, span = decoded.readings.layout, span_of(decoded)
    sent = layout.energy_row >= 0
    return Mark(
        node=decoded.node,
        boot=decoded.boot,
        clock=clock,
        end_unix_us=decoded.end_us + decoded.realtime_offset_us,
        start_us=decoded.start_us,
        end_us=decoded.end_us,
        start_unix_us=span.start_unix_us,
        ledger_rows=ledger_rows,
        unread_us=unread_us,
        raised_uj=raised_uj,
        layout=layout.hash,
        interval_us=run_lengths(decoded.readings.interval_us.tolist()),
        first_uj=run_lengths(np.where(sent, span.start.energy_uj, 0).tolist()),
        last_uj=run_lengths(np.where(sent, span.end.energy_uj, 0).tolist()),
    )


def run_lengths(values: Sequence[int]) -> str:
    """Write numbers as 'value' or 'value*times', by commas."""
    runs = ((value, sum(1 for _ in same)) for value, same in groupby(values))
    return ",".join(f"{value}*{times}" if times > 1 else str(value) for value, times in runs)


def numbers(runs: str) -> Ints:
    """Read what run_lengths() wrote. Raises ValueError."""
    pairs = [run.partition("*") for run in runs.split(",")] if runs else []
    values = np.array([int(value) for value, _, _ in pairs], dtype=np.int64)
    times = [int(times or 1) for _, _, times in pairs]
    if sum(times) > _MOST:
        raise ValueError(f"{runs[:100]!r}: expected at most {_MOST} numbers")
    return np.repeat(values, times)
