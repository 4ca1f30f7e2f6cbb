"""Series rolled up: parts of minutes that are to be added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.store.duckdb.packed import Strip

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
    strip: Strip, is_counter: npt.NDArray[np.bool_], metrics: Ints, series: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the parts that a strip makes, by SCHEMA's columns; series holds each row's number."""
    minute = (strip.unix_us - 1) // MINUTE_US
    starts = np.concatenate([[0], np.flatnonzero(np.diff(minute)) + 1])
    values, counts = strip.values, is_counter[:, None]
    total = np.add.reduceat(np.where(counts, values, 0), starts, axis=1)
    # Levels times microseconds go beyond 63 bits.
    weighted = np.add.reduceat(
        np.where(counts, 0, values).astype(np.float64) * strip.interval_us, starts, axis=1
    )
    covered = np.add.reduceat(strip.interval_us, starts)
    rows, parts = total.shape
    return {
        "metric": np.repeat(metrics.astype(np.int16), parts),
        "series_id": np.repeat(series, parts),
        "minute": np.tile(minute[starts].astype(np.int32), rows),
        "covered_us": np.tile(covered, rows),
        "total": total.ravel(),
        "weighted": weighted.ravel(),
        "least": np.where(counts, 0, np.minimum.reduceat(values, starts, axis=1)).ravel(),
        "most": np.where(counts, 0, np.maximum.reduceat(values, starts, axis=1)).ravel(),
    }


def table_of(parts: Sequence[dict[str, npt.NDArray[np.generic]]]) -> pa.Table:
    """Return parts as one table."""
    if not parts:
        return SCHEMA.empty_table()
    return pa.table({name: np.concatenate([p[name] for p in parts]) for name in SCHEMA.names}, schema=SCHEMA)
