"""Sequence marks: one point a Report, written last. A Report without its mark was never there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.sequence import Span, span_of
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_lines import line, numbers, run_lengths, untag

Ints = npt.NDArray[np.int64]

_INTEGERS = ("start_us", "end_us", "start_unix_us", "ledger_rows", "unread_us", "raised_uj")
_TEXTS = ("layout", "interval_us", "first_uj", "last_uj")
FIELDS = ", ".join(f'"{field}"' for field in (*_INTEGERS, *_TEXTS))


@dataclass(frozen=True, slots=True)
class Mark:
    """A Report as its mark tells of it.

    clock is empty, or tells apart Reports that a node's wall clock showed at the same time, being set back.
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

    def line(self) -> bytes:
        """Return the point."""
        fields: dict[str, int | str] = {field: getattr(self, field) for field in _INTEGERS}
        fields |= {
            "layout": f"{self.layout:016x}",
            "interval_us": self.interval_us,
            "first_uj": self.first_uj,
            "last_uj": self.last_uj,
        }
        tags = {"boot": self.boot.hex(), "clock": self.clock, "node": self.node}
        return line("report", tags, fields, self.end_unix_us)

    def span(self, layout: NodeLayout) -> Span:
        """Return its place on the node's boot clock."""
        first, last = numbers(self.first_uj), numbers(self.last_uj)
        return Span(Edge(layout, self.start_us, first), Edge(layout, self.end_us, last), self.start_unix_us)

    def ticks_us(self) -> tuple[Ints, Ints]:
        """Return the wall clock at the end of each interval, and each interval's length."""
        lengths = numbers(self.interval_us)
        return self.start_unix_us + np.cumsum(lengths), lengths


def mark_of(decoded: Decoded, clock: str, ledger_rows: int, unread_us: int, raised_uj: int) -> Mark:
    """Return a Report's mark."""
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


def marks_in(found: list[Series]) -> list[Mark]:
    """Return the marks of an answer; node, boot and clock are its tags or its columns."""
    return [_mark(series.tags | row) for series in found for row in series.rows()]


def _mark(row: dict[str, Any]) -> Mark:
    return Mark(
        node=untag(row["node"]),
        boot=bytes.fromhex(row["boot"]),
        clock=row["clock"] or "",
        end_unix_us=row["time"],
        layout=int(row["layout"], 16),
        **{name: row[name] for name in (*_INTEGERS, "interval_us", "first_uj", "last_uj")},
    )
