"""Readings as a store gives them back: one series over ticks, or added up over steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.series_rows import SeriesKey

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Points:
    """One series' stored readings: the wall clock at the end of each interval, its length, and values.

    Values are increments for counters and levels for gauges.
    """

    node: str
    key: SeriesKey
    unix_us: Ints
    interval_us: Ints
    values: Ints


@dataclass(frozen=True, slots=True)
class Sums:
    """One series over steps, an entry each: how long it was read, and what is to be added up of its ticks.

    total: a counter's increments. weighted: a gauge's levels times how long they lasted, in µs.
    """

    node: str
    key: SeriesKey
    covered_us: Ints
    total: Ints
    weighted: npt.NDArray[np.float64]
