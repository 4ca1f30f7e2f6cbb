"""A node's hour out of VictoriaMetrics: what its Reports said, and the rows that count of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.figures import FIGURES
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.anew import Hour, Rows, UnbalancedError
from joulebook.collector.store.influxdb_lines import readings_of
from joulebook.collector.store.victoriametrics.content import Samples, Series, slots
from joulebook.collector.store.victoriametrics.ledger import METRICS, WHOLE, Vouched
from joulebook.v1.catalogue import catalogue

_PLACES = {f"ledger_{name}": i for i, name in enumerate(FIGURES)}


def stored_hour(samples: Samples, marks: Sequence[Mark], layout_of: Callable[[int], NodeLayout]) -> Hour:
    """Return what samples tell of a node's Reports. Raises UnbalancedError where one is not whole."""
    return Hour(_readings(samples, marks, layout_of), [mark.start for mark in marks], _rows(samples, marks))


def _readings(
    samples: Samples, marks: Sequence[Mark], layout_of: Callable[[int], NodeLayout]
) -> list[Readings]:
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, mark in enumerate(marks):
        alike[mark.layout, mark.clock].append(i)
    found: dict[int, Readings] = {}
    for (hash_, clock), places in alike.items():
        layout = layout_of(hash_)
        own = [slots(marks[i]) for i in places]
        stored = _stored(samples, layout, clock, np.concatenate(own))
        ends = np.cumsum([len(times) for times in own])[:-1]
        for i, values in zip(places, np.split(stored, ends, axis=1), strict=True):
            found[i] = readings_of(layout, marks[i].ticks_us()[1], values)
    return [found[i] for i in range(len(marks))]


def _stored(samples: Samples, layout: NodeLayout, clock: str, at: np.ndarray) -> np.ndarray:
    """Return what is stored of each series (series, times)."""
    stored = np.zeros((len(layout.series), len(at)), dtype=np.int64)
    for row, key in enumerate(layout.series):
        entry = catalogue()[key.metric]
        name = f"{entry.subject}_{entry.name}"
        series = Series(name, layout.node, clock, key.domain, key.device, key.workload)
        times, values = samples.get(series, (at[:0], at[:0]))
        place = np.minimum(np.searchsorted(times, at), len(times) - 1)
        if not len(times) or (times[place] != at).any():
            raise UnbalancedError(f"readings of {name} are missing")
        stored[row] = values[place]
    return stored


def _rows(samples: Samples, marks: Sequence[Mark]) -> list[Rows]:
    found: list[dict[str, list[int]]] = [defaultdict(lambda: [0] * len(FIGURES)) for _ in marks]
    vouched = Vouched(marks)
    for series, both in samples.items():
        if series.metric not in METRICS:
            continue
        reports, values = vouched.rows(series, both)
        for report, value in zip(reports.tolist(), values.tolist(), strict=True):
            row = found[report][series.account]
            if series.metric != WHOLE:
                row[_PLACES[series.metric]] = value
    return [{account: tuple(row) for account, row in rows.items()} for rows in found]
