"""Series rolled up: parts of minutes that are to be added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.block import SideBySide

Ints = npt.NDArray[np.int64]
MINUTE_US = 60_000_000
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


def minutes_of(
    beside: SideBySide, end_unix_us: Ints, layout: NodeLayout, series: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the parts that Reports of a layout make, by SCHEMA's columns; series holds each row's number."""
    minute = (beside.unix_us(end_unix_us) - 1) // MINUTE_US
    starts = np.concatenate([[0], np.flatnonzero(np.diff(minute)) + 1])
    gauges = np.flatnonzero(~layout.is_counter)
    total = np.add.reduceat(beside.change, starts, axis=1)
    total[gauges] = 0
    levels = beside.levels(gauges)
    covered = np.add.reduceat(beside.interval_us, starts)
    rows, parts = total.shape
    weighted = np.zeros((rows, parts))
    # Levels times microseconds go beyond 63 bits.
    weighted[gauges] = np.add.reduceat(levels * beside.interval_us.astype(np.float64), starts, axis=1)
    least, most = np.zeros((2, rows, parts), dtype=np.int64)
    least[gauges] = np.minimum.reduceat(levels, starts, axis=1)
    most[gauges] = np.maximum.reduceat(levels, starts, axis=1)
    return {
        "metric": np.repeat(layout.metrics.astype(np.int16), parts),
        "series_id": np.repeat(series, parts),
        "minute": np.tile(minute[starts].astype(np.int32), rows),
        "covered_us": np.tile(covered, rows),
        "total": total.ravel(),
        "weighted": weighted.ravel(),
        "least": least.ravel(),
        "most": most.ravel(),
    }


def table_of(parts: Sequence[dict[str, npt.NDArray[np.generic]]]) -> pa.Table:
    """Return parts as one table."""
    if not parts:
        return SCHEMA.empty_table()
    return pa.table({name: np.concatenate([p[name] for p in parts]) for name in SCHEMA.names}, schema=SCHEMA)
