"""Decode and check what arrives: nothing malformed or absurd gets past this page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from joulebook.collector.ingest.layout_checks import MAX_CLOCK_US, check_layout
from joulebook.collector.ingest.refusal import RefusalError, invalid
from joulebook.collector.ledger.holes import Start
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import report_pb2
from joulebook.v1.naming import MAX_WALL_CLOCK, layout_hash

Ints = npt.NDArray[np.int64]

BOOT_BYTES = 16
MAX_LAYOUT_BYTES = 1 << 20
MAX_REPORT_BYTES = 1 << 22
MAX_INTERVALS = 3600
MAX_INTERVAL_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """A Report that may be booked: who sent it, when it began and ended, and what it says."""

    boot: bytes
    start_us: int
    end_us: int
    realtime_offset_us: int
    # Tells it apart from others that the node's wall clock showed at its time, as the agent knows them.
    wall_clock: int
    readings: Readings
    ended: Sequence[report_pb2.WorkloadEnd]
    sources: Sequence[report_pb2.SourceStatus]
    # The Report itself, as a store may keep it.
    serialized: bytes

    @property
    def node(self) -> str:
        """Return the node's name."""
        return self.readings.layout.node

    @property
    def start(self) -> Start:
        """Return when it began."""
        return Start(self.boot, self.start_us)


def decode_layout(serialized: bytes) -> NodeLayout:
    """Return a checked layout, or refuse it saying why."""
    if len(serialized) > MAX_LAYOUT_BYTES:
        raise invalid(f"layout of {len(serialized)} bytes: expected at most {MAX_LAYOUT_BYTES}")
    try:
        message = report_pb2.Layout.FromString(serialized)
    except DecodeError as error:
        raise invalid(f"layout: not a joulebook.v1.Layout ({error})") from error
    check_layout(message)
    return NodeLayout(layout_hash(serialized), message, serialized)


def decode_report(
    report: report_pb2.Report, layout: NodeLayout, now_us: int, max_future_us: int, serialized: bytes = b""
) -> Decoded:
    """Return a Report whose form is sound, or refuse it saying why. now_us is the collector's wall clock.

    Its values are for values.refusals() to judge, many Reports at a time. serialized: the Report as it came.
    """
    if len(report.boot) != BOOT_BYTES:
        raise invalid(f"boot of {len(report.boot)} bytes: expected {BOOT_BYTES}")
    # So few are cheaper as they are than in an array.
    lengths_us = list(report.interval_us)
    ticks, series, length_us = len(lengths_us), len(layout.is_counter), sum(lengths_us)
    if not 0 < ticks <= MAX_INTERVALS:
        raise invalid(f"{ticks} intervals: expected 1 to {MAX_INTERVALS}")
    if min(lengths_us) <= 0 or length_us > MAX_INTERVAL_US:
        raise invalid(f"interval_us: expected lengths above 0 that add up to at most {MAX_INTERVAL_US}")
    if len(report.values) != series * (ticks + 1):
        raise invalid(f"{len(report.values)} values: expected {series} series × {ticks + 1} readings")
    end_us = report.sequence + length_us
    if end_us > MAX_CLOCK_US or abs(report.realtime_offset_us) > MAX_CLOCK_US:
        raise invalid(
            f"sequence {report.sequence}, realtime_offset_us {report.realtime_offset_us}: absurd clock"
        )
    if report.wall_clock > MAX_WALL_CLOCK:
        raise invalid(f"wall_clock {report.wall_clock}: expected at most {MAX_WALL_CLOCK}")
    ahead_us = end_us + report.realtime_offset_us - now_us
    if ahead_us > max_future_us:
        raise RefusalError(
            grpc.StatusCode.OUT_OF_RANGE,
            f"ends {ahead_us / 1e6:.0f} s in the future: expected at most {max_future_us / 1e6:.0f} s; "
            "set the node's clock",
        )
    for end in report.ended:
        if not 0 <= end.end_unix_us <= MAX_CLOCK_US:
            raise invalid(f"workload {end.workload_id[:80]!r}: ended at an absurd time")
    values = np.array(report.values, dtype=np.int64).reshape(series, ticks + 1)
    return Decoded(
        report.boot,
        report.sequence,
        end_us,
        report.realtime_offset_us,
        report.wall_clock,
        Readings(layout, np.array(lengths_us, dtype=np.int64), values),
        # Mostly there are none. A list of the message's own would keep all of its values.
        tuple(report.ended),
        tuple(report.sources),
        serialized or report.SerializeToString(),
    )
