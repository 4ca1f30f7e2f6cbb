"""Readings of an embedded store as rows: one a series and Report, with all ticks of both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.block import SideBySide, lists_by
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.protocol import Range
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000
_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("node", _NAME),
        ("metric", _NAME),
        ("domain", _NAME),
        ("device", _NAME),
        ("workload", _NAME),
        ("end_unix_us", pa.int64()),
        ("interval_us", pa.list_(pa.int32())),
        ("values", pa.list_(pa.int64())),
    ]
)
_NAMES = ("node", "metric", "domain", "device", "workload")


class Writer:
    """A file a day, in directories that say which."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, pq.ParquetWriter] = {}
        self.rows = 0
        self.samples = 0
        # Of increments of energy, whatever domain they are of.
        self.energy_uj = 0

    def write(self, day: str, layout: NodeLayout, end_unix_us: Ints, beside: SideBySide) -> None:
        """Write a node's Reports of a day."""
        if day not in self._files:
            place = self._directory / f"day={day}"
            place.mkdir(parents=True, exist_ok=True)
            self._files[day] = pq.ParquetWriter(
                place / "readings.parquet",
                SCHEMA,
                compression="zstd",
                use_dictionary=list(_NAMES),
                column_encoding={"values.list.element": "BYTE_STREAM_SPLIT"},
                data_page_size=8 << 20,
                max_rows_per_page=1 << 30,
            )
        values = np.where(layout.is_counter[:, None], beside.change, beside.levels())
        reports, series = len(end_unix_us), layout.series
        known = catalogue()
        named = {
            "node": [layout.node] * len(series),
            "metric": [known[key.metric].name for key in series],
            "domain": [key.domain for key in series],
            "device": [key.device for key in series],
            "workload": [key.workload for key in series],
        }
        columns = [np.repeat(np.array(named[name], dtype=object), reports) for name in _NAMES]
        ticks = np.tile(beside.ticks, len(series))
        lengths = lists_by(np.tile(beside.interval_us, len(series)), ticks)
        self._files[day].write_table(
            pa.table(
                [
                    *(pa.array(column, pa.string()).dictionary_encode() for column in columns),
                    pa.array(np.tile(end_unix_us, len(series))),
                    lengths.cast(SCHEMA.field("interval_us").type),
                    lists_by(np.ascontiguousarray(values).ravel(), ticks),
                ],
                schema=SCHEMA,
            )
        )
        self.rows += len(ticks)
        self.samples += values.size
        rows = layout.energy_row[layout.energy_row >= 0]
        self.energy_uj += int(values[rows].sum())

    def close(self) -> None:
        """Finish all files."""
        for file in self._files.values():
            file.close()


def write(view: Reads, selected: Range, directory: Path) -> Writer:
    """Write the readings of the Reports that ended in a range."""
    writer = Writer(directory)
    try:
        for layout_id, end_unix_us, beside in view.side_by_side(selected):
            layout = view._layout(layout_id)
            for day, own in _by_day(end_unix_us):
                writer.write(day, layout, end_unix_us[own], beside.some(own))
    finally:
        writer.close()
    return writer


def _by_day(end_unix_us: Ints) -> Iterator[tuple[str, Ints]]:
    """Give each day and the places of what ended in it."""
    days = (end_unix_us - 1) // DAY_US
    for day in np.unique(days).tolist():
        yield time.strftime("%Y-%m-%d", time.gmtime(day * 86_400)), np.flatnonzero(days == day)
