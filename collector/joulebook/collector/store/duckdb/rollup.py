"""Series rolled up: parts of minutes that are to be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.measured import drawn_uj

Ints = npt.NDArray[np.int64]
MINUTE_US = 60_000_000
# Parts of minutes, by SCHEMA's columns.
Part = dict[str, npt.NDArray[np.generic]]
SCHEMA = pa.schema(
    [
        ("metric", pa.int16()),
        ("series_id", pa.int32()),
        ("minute", pa.int32()),
        ("covered_us", pa.int64()),
        ("total", pa.int64()),
        ("weighted", pa.float64()),
        ("least", pa.int64()),
        ("most", pa.int64()),
    ]
)
# What adds parts up, whatever they are grouped by.
SUMS = (
    "sum(covered_us)::BIGINT AS covered_us, sum(total)::BIGINT AS total, sum(weighted) AS weighted, "
    "min(least) AS least, max(most) AS most"
)


@dataclass(frozen=True, slots=True)
class Alike:
    """Reports of one kind of layout and as many ticks each, in order of node and time.

    values are (Reports, series, ticks + 1) as they came, interval_us (Reports, ticks), series the numbers of
    each Report's series.
    """

    layout: NodeLayout
    node_id: Ints
    end_unix_us: Ints
    series: npt.NDArray[np.int32]
    interval_us: Ints
    values: Ints

    def drawn_uj(self) -> Ints:
        """Return what the meters delivered in each Report."""
        rows = self.layout.energy_row
        energy = np.where((rows >= 0)[:, None], _side_by_side(self.values[:, rows, 1:]), 0)
        return np.asarray(drawn_uj(self.layout, energy).reshape(self.interval_us.shape).sum(axis=1))


def _side_by_side(values: Ints) -> Ints:
    """Return (series, ticks of all Reports) of (Reports, series, ticks)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], values.shape[0] * values.shape[2])


def minutes_of(alike: Alike) -> Part:
    """Return the parts that Reports make, by SCHEMA's columns: one a series and minute of a node."""
    passed = alike.interval_us.cumsum(axis=1)
    unix_us = alike.end_unix_us[:, None] - (passed[:, -1:] - passed)
    minute = ((unix_us - 1) // MINUTE_US).ravel()
    ticks = alike.interval_us.shape[1]
    differs = (np.diff(minute) != 0) | (np.diff(np.repeat(alike.node_id, ticks)) != 0)
    starts = np.concatenate([[0], np.flatnonzero(differs) + 1])
    interval_us = alike.interval_us.ravel()
    gauges = np.flatnonzero(~alike.layout.is_counter)
    total = np.add.reduceat(_side_by_side(alike.values[:, :, 1:]), starts, axis=1)
    total[gauges] = 0
    levels = _side_by_side(alike.values[:, gauges].cumsum(axis=2)[:, :, 1:])
    rows, parts = total.shape
    weighted = np.zeros((rows, parts))
    # Levels times microseconds go beyond 63 bits.
    weighted[gauges] = np.add.reduceat(levels * interval_us.astype(np.float64), starts, axis=1)
    least, most = np.zeros((2, rows, parts), dtype=np.int64)
    least[gauges] = np.minimum.reduceat(levels, starts, axis=1)
    most[gauges] = np.maximum.reduceat(levels, starts, axis=1)
    return {
        "metric": np.repeat(alike.layout.metrics.astype(np.int16), parts),
        "series_id": alike.series[starts // ticks].T.ravel(),
        "minute": np.tile(minute[starts].astype(np.int32), rows),
        "covered_us": np.tile(np.add.reduceat(interval_us, starts), rows),
        "total": total.ravel(),
        "weighted": weighted.ravel(),
        "least": least.ravel(),
        "most": most.ravel(),
    }


def table_of(parts: Sequence[Part]) -> pa.Table:
    """Return parts as one table."""
    if not parts:
        return SCHEMA.empty_table()
    return pa.table({name: np.concatenate([p[name] for p in parts]) for name in SCHEMA.names}, schema=SCHEMA)
