"""Columns that the embedded store answers with, as arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout, SeriesKey
from joulebook.collector.store.protocol import Points, RawEnergy
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]


def energy_by_layout(table: pa.Table, layout_of: Callable[[int], NodeLayout]) -> list[RawEnergy]:
    """Group raw energy by layout and length.

    The table has layout_id, ticks and change, ordered by layout, ticks, domain's name and Report: within a
    group each domain has the same Reports.
    """
    layout_ids = table["layout_id"].to_numpy()
    ticks = table["ticks"].to_numpy()
    change = table["change"].combine_chunks().values.to_numpy() if table.num_rows else np.zeros(0)
    offsets = np.concatenate([[0], np.cumsum(ticks)])
    result = []
    breaks = np.flatnonzero((np.diff(layout_ids) != 0) | (np.diff(ticks) != 0)) + 1
    for begin, end in zip([0, *breaks], [*breaks, len(ticks)], strict=True):
        if begin == end:
            continue
        layout = layout_of(int(layout_ids[begin]))
        names = layout.domain_names
        sent = sorted(n for n, row in zip(names, layout.energy_row, strict=True) if row >= 0)
        block = change[offsets[begin] : offsets[end]].reshape(len(sent), -1, ticks[begin])
        energy = np.zeros((block.shape[1], len(names), ticks[begin]), dtype=np.int64)
        energy[:, [names.index(n) for n in sent]] = block.transpose(1, 0, 2)
        result.append(RawEnergy(layout, energy))
    return result


def points_by_series(table: pa.Table, metric: int) -> list[Points]:
    """Join each series' chunks into one, with the wall clock at the end of each interval."""
    is_counter = catalogue()[metric].is_counter
    grouped: dict[tuple[str, SeriesKey], list[tuple[Ints, Ints, Ints]]] = defaultdict(list)
    for row in table.to_pylist():
        interval_us = np.array(row["interval_us"], dtype=np.int64)
        change = np.array(row["change"], dtype=np.int64)
        values = change if is_counter else row["first"] + np.cumsum(change)
        passed = np.cumsum(interval_us)
        unix_us = row["end_unix_us"] - (passed[-1] - passed)
        key = SeriesKey(metric, row["domain"], row["device"], row["workload"])
        grouped[row["node"], key].append((unix_us, interval_us, values))
    return [
        Points(node, key, *(np.concatenate(column) for column in zip(*parts, strict=True)))
        for (node, key), parts in grouped.items()
    ]
