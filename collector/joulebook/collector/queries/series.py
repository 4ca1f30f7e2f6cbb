"""Readings of one metric over time, in buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulebook.collector.queries.buckets import Buckets, cut, on_whole
from joulebook.collector.queries.errors import BadValueError, UnknownNameError, expected_name
from joulebook.collector.queries.pages import Page, page
from joulebook.collector.store.protocol import Range, Store
from joulebook.collector.store.readings import Points, Sums
from joulebook.v1.catalogue import MetricEntry, by_name

_DEFAULT_BUCKETS = 300
# A Report reaches past a range's end by no more than its own length.
_LONGEST_REPORT_US = 600_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """One subject's values, one a bucket: exact sums of a counter's increments, or a gauge's mean.

    None where nothing was reported.
    """

    node: str
    subject: str
    values: list[int | float | None]


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """Series of one metric over the same buckets; times_s are the ends of the buckets in unix seconds."""

    metric: str
    unit: str
    kind: str
    help: str
    from_us: int
    to_us: int
    step_us: int
    times_s: list[float]
    series: list[Series]
    next_cursor: str | None


def get_series(
    store: Store,
    *,
    metric: str,
    node: str | None,
    subject: str | None,
    from_us: int,
    to_us: int,
    step_us: int | None,
    limit: int,
    cursor: str | None,
) -> SeriesSet:
    """Return a metric's series over (from_us, to_us] in buckets of a step (None: one that suits).

    Steps of whole minutes or hours lie on them, and the range is widened to them.
    """
    entry = by_name().get(metric)
    if entry is None:
        raise BadValueError(
            "metric", metric, expected_name("a name of the metric catalogue", metric, by_name())
        )
    buckets = cut(from_us, to_us, step_us, suiting=_DEFAULT_BUCKETS)
    from_us, to_us = on_whole(from_us, to_us, buckets.step_us)
    buckets = replace(buckets, from_us=from_us, to_us=to_us)
    with store.snapshot() as frozen:
        if node is not None:
            known = frozen.node_names()
            if node not in known:
                raise UnknownNameError("node", node, expected_name("a node in the books", node, known))
        sums = frozen.sums(Range(from_us, to_us, node), buckets.step_us, entry.number, subject)
        points = []
        if sums is None:
            points = frozen.points(Range(from_us, to_us + _LONGEST_REPORT_US, node), entry.number, subject)
    found: list[Points] | list[Sums] = points if sums is None else sums
    taken: Page[Points | Sums] = page(found, lambda p: (p.node, _subject(p)), limit, cursor)
    return SeriesSet(
        metric=entry.name,
        unit=entry.unit,
        kind="counter" if entry.is_counter else "gauge",
        help=entry.help,
        from_us=from_us,
        to_us=to_us,
        step_us=buckets.step_us,
        times_s=buckets.ends_s,
        series=[
            _summed(p, entry) if isinstance(p, Sums) else _bucketed(p, entry, buckets) for p in taken.items
        ],
        next_cursor=taken.next_cursor,
    )


def _summed(sums: Sums, entry: MetricEntry) -> Series:
    found: Sequence[int | float] = (
        sums.total.tolist() if entry.is_counter else (sums.weighted / np.maximum(sums.covered_us, 1)).tolist()
    )
    return Series(sums.node, _subject(sums), _where_reported(found, sums.covered_us))


def _where_reported(
    values: Sequence[int | float], covered_us: npt.NDArray[np.int64]
) -> list[int | float | None]:
    there = covered_us > 0
    if there.all():
        return [*values]
    reported = there.tolist()
    return [value if there else None for value, there in zip(values, reported, strict=True)]


def _subject(points: Points | Sums) -> str:
    key = points.key
    if key.workload and key.domain:
        return f"{key.workload}/{key.domain}"
    return key.domain or key.device or key.workload


def _bucketed(points: Points, entry: MetricEntry, buckets: Buckets) -> Series:
    # An interval belongs to the bucket that it ended in.
    inside = (points.unix_us > buckets.from_us) & (points.unix_us <= buckets.to_us)
    bucket = (points.unix_us[inside] - buckets.from_us - 1) // buckets.step_us
    lengths, readings = points.interval_us[inside], points.values[inside]
    weight = np.zeros(buckets.count, dtype=np.int64)
    np.add.at(weight, bucket, lengths)
    if entry.is_counter:
        total = np.zeros(buckets.count, dtype=np.int64)
        np.add.at(total, bucket, readings)
        found: Sequence[int | float] = total.tolist()
    else:
        sums = np.bincount(bucket, weights=readings.astype(np.float64) * lengths, minlength=buckets.count)
        found = (sums / np.maximum(weight, 1)).tolist()
    return Series(points.node, _subject(points), _where_reported(found, weight))
