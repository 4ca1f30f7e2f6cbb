"""Judge the values of Reports, many at a time: nothing absurd gets past this page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.refusal import RefusalError, invalid
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.series_rows import MAX_POWER_MW, MAX_READING
from joulebook.collector.ledger.stack import Readings
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]

# By how much a value may change in an interval: far beyond what any machine shows. What a counter may have
# reached is MAX_READING, and so is what all series of a Report may count and show together: sums of them stay
# inside 63 bits.
_MAX_CHANGE = 1 << 50
# As many Reports of a kind are judged by themselves, and as many at once: so many values fit into a cache.
_FEWEST_ALIKE, _AT_ONCE = 16, 100


def refusals(reports: Sequence[Decoded]) -> dict[int, RefusalError]:
    """Return why Reports are refused, by their places; those that are not in it are sound."""
    found = {}
    kinds: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, report in enumerate(reports):
        kinds[report.readings.values.shape[1], id(report.readings.layout.kind)].append(i)
    # Of a kind that few are of, others stand beside them.
    others: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for group in kinds.values():
        if len(group) < _FEWEST_ALIKE:
            others[reports[group[0]].readings.values.shape] += group
            group.clear()
    for group in (*kinds.values(), *others.values()):
        for begin in range(0, len(group), _AT_ONCE):
            own = group[begin : begin + _AT_ONCE]
            for i in _suspects([reports[i].readings for i in own]):
                try:
                    check(reports[own[i]].readings)
                except RefusalError as refusal:
                    found[own[i]] = refusal
    return found


def _suspects(readings: Sequence[Readings]) -> list[int]:
    """Return the places of those that may be wrong in any way, of Reports of one shape."""
    # Series by series, so that ticks are added up and compared many at a time.
    values = np.ascontiguousarray(np.stack([r.values for r in readings]).transpose(2, 1, 0))
    is_counter = _stacked([r.layout.is_counter for r in readings])
    allowed = _stacked([r.layout.highest for r in readings])
    change = values[1:]
    least, most = change.min(axis=0), change.max(axis=0)
    # What a counter does not do is found by its changes; levels are a gauge's.
    gauges = np.flatnonzero((~is_counter | (allowed < MAX_READING)).any(axis=1))
    levels = values[:, gauges].cumsum(axis=0)
    highest = levels.max(axis=0)
    shortest_us = np.maximum([r.interval_us.min() for r in readings], 1000)
    wrong = (values[0] > MAX_READING) | (values[0] < 0) | (most > _MAX_CHANGE) | (least < -_MAX_CHANGE)
    wrong |= is_counter & (least < 0)
    wrong[gauges] |= (levels.min(axis=0) < 0) | (highest > allowed[gauges])
    # The shortest interval allows the least. Which rows are energy differs, so it is asked of all counters.
    wrong |= is_counter & (most > shortest_us * MAX_POWER_MW // 1000)
    together = most.sum(axis=0, dtype=np.float64) * len(change) + highest.sum(axis=0, dtype=np.float64)
    return np.flatnonzero(wrong.any(axis=0) | (together > MAX_READING)).tolist()


def _stacked(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return (series, Reports), or (series, 1) where all are alike."""
    first = rows[0]
    return first[:, None] if all(row is first for row in rows) else np.stack(rows, axis=1)


def check(readings: Readings) -> None:
    """Refuse a Report for its values, saying which and why."""
    values, layout = readings.values, readings.layout
    first, change = values[:, 0], values[:, 1:]
    most, least = change.max(axis=1), change.min(axis=1)
    if first.max() > MAX_READING or most.max() > _MAX_CHANGE or least.min() < -_MAX_CHANGE:
        raise invalid(f"values: expected readings to {MAX_READING} and changes to {_MAX_CHANGE}")
    levels = values.cumsum(axis=1)
    below = levels.min(axis=1) < 0
    if below.any():
        raise invalid(f"{_name(layout, int(below.argmax()))}: a reading below 0")
    falls = layout.is_counter & (least < 0)
    if falls.any():
        raise invalid(f"{_name(layout, int(falls.argmax()))}: a counter that falls")
    highest = levels.max(axis=1)
    beyond = (highest > layout.highest) & (~layout.is_counter | (layout.highest < MAX_READING))
    if beyond.any():
        row = int(beyond.argmax())
        unit = catalogue()[int(layout.metrics[row])].unit
        raise invalid(f"{_name(layout, row)}: above {layout.highest[row]} {unit}")
    together = change[layout.is_counter].sum(dtype=np.float64)
    if together + highest[~layout.is_counter].sum(dtype=np.float64) > MAX_READING:
        raise invalid(f"values: all series count and show more than {MAX_READING} together")
    rows = layout.energy_row[layout.energy_row >= 0]
    most_uj = np.maximum(readings.interval_us, 1000) * MAX_POWER_MW // 1000
    absurd = (values[rows, 1:] > most_uj).any(axis=1)
    if absurd.any():
        row = int(rows[int(absurd.argmax())])
        raise invalid(f"{_name(layout, row)}: above {MAX_POWER_MW // 1_000_000} kW")


def _name(layout: NodeLayout, row: int) -> str:
    key = layout.series[row]
    name = catalogue()[key.metric].name
    subjects = [subject for subject in (key.workload, key.device, key.domain) if subject]
    return f"{name} of {' on '.join(subjects) or layout.node}"
