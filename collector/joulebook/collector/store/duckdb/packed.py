"""Reports as the embedded store keeps the fresh ones: each in one piece, as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]
# interval_id, wall clock at the end in µs, and the Report
Packed = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True)
class Strip:
    """Readings of Reports of one layout side by side: values (series, ticks), and of each tick the rest.

    Values are increments for counters and levels for gauges; a tick's time is the wall clock at its end.
    report holds the interval_id of the Report that a tick belongs to.
    """

    report: Ints
    unix_us: Ints
    interval_us: Ints
    values: Ints


def unpack(report: bytes) -> tuple[Ints, Ints]:
    """Return a Report's interval lengths (ticks) and values (series, ticks + 1)."""
    message = report_pb2.Report.FromString(report)
    interval_us = np.array(message.interval_us, dtype=np.int64)
    return interval_us, np.array(message.values, dtype=np.int64).reshape(-1, len(interval_us) + 1)


def strip(reports: Sequence[Packed], is_counter: npt.NDArray[np.bool_], rows: Ints | None = None) -> Strip:
    """Lay Reports of one layout side by side, of some rows where they are given."""
    counts = is_counter if rows is None else is_counter[rows]
    lengths, values, unix = [], [], []
    for _, end_unix_us, report in reports:
        interval_us, all_values = unpack(report)
        own = all_values if rows is None else all_values[rows]
        levels = own.cumsum(axis=1)
        lengths.append(interval_us)
        values.append(np.where(counts[:, None], own, levels)[:, 1:])
        passed = interval_us.cumsum()
        unix.append(end_unix_us - (passed[-1] - passed))
    numbers = np.array([number for number, _, _ in reports], dtype=np.int64)
    return Strip(
        report=np.repeat(numbers, [len(own) for own in lengths]),
        unix_us=np.concatenate(unix),
        interval_us=np.concatenate(lengths),
        values=np.concatenate(values, axis=1),
    )
