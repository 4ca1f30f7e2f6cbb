"""A block: Reports of an hour, their readings side by side by series, as Parquet.

Nothing is lost: a Report's values come back from the changes of each tick, and from the jumps, by how much
its first reading differs from the last one of the Report before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.measured import drawn_uj
from joulebook.collector.store.duckdb.packed import Packed, unpack

Ints = npt.NDArray[np.int64]

# A row a series of a strip: one node's Reports of one boot and layout, in order. change is in units.
READINGS = pa.schema(
    [
        ("block_id", pa.int32()),
        ("strip", pa.int32()),
        ("metric", pa.int16()),
        ("series_id", pa.int32()),
        # What all changes of the row are multiples of.
        ("unit", pa.int64()),
        ("jump", pa.list_(pa.int64())),
        ("change", pa.list_(pa.int64())),
    ]
)
REPORTS = pa.schema(
    [
        ("block_id", pa.int32()),
        ("strip", pa.int32()),
        ("interval_id", pa.int64()),
        ("node_id", pa.int32()),
        ("boot_id", pa.int32()),
        ("layout_id", pa.int32()),
        ("start_us", pa.int64()),
        ("end_us", pa.int64()),
        ("end_unix_us", pa.int64()),
        ("unread_us", pa.int64()),
        ("raised_uj", pa.int64()),
        ("measured_uj", pa.int64()),
        ("interval_us", pa.list_(pa.int64())),
    ]
)
# Bytes of like weight stand together, which takes less room than deltas where values are noisy, and nothing
# where they are not.
_SPLIT = "BYTE_STREAM_SPLIT"
# As many changes of a row are looked at first for what all are multiples of.
_FIRST = 100
_ENCODING = {
    "change.list.element": _SPLIT,
    "jump.list.element": _SPLIT,
    "interval_us.list.element": _SPLIT,
    **dict.fromkeys(("start_us", "end_us", "end_unix_us", "interval_id"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("series_id", "strip", "block_id"), "DELTA_BINARY_PACKED"),
}


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Readings of Reports of one layout in order: interval lengths of all, jumps and changes by series."""

    ticks: Ints
    interval_us: Ints
    jump: Ints
    change: Ints

    def values(self) -> Iterator[Ints]:
        """Give each Report's values as they came: (series, ticks + 1)."""
        ends = np.cumsum(self.ticks)
        begins = ends - self.ticks
        counted = np.zeros((len(self.change), len(self.ticks)), dtype=np.int64)
        if len(self.ticks) > 1:
            counted[:, 1:] = np.add.reduceat(self.change, begins, axis=1)[:, :-1].cumsum(axis=1)
        first = self.jump.cumsum(axis=1) + counted
        for i, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
            yield np.concatenate([first[:, i : i + 1], self.change[:, begin:end]], axis=1)

    def some(self, reports: Ints) -> SideBySide:
        """Return some of the Reports, in order of their places."""
        ticks = np.repeat(np.isin(np.arange(len(self.ticks)), reports), self.ticks)
        # The first reading of each, less the last one of whichever is before it now.
        ends = np.cumsum(self.ticks)
        counted = np.concatenate(
            [np.zeros((len(self.change), 1), dtype=np.int64), self.change.cumsum(axis=1)], axis=1
        )
        jumped = self.jump.cumsum(axis=1)
        first = jumped[:, reports] + counted[:, (ends - self.ticks)[reports]]
        last = jumped[:, reports] + counted[:, ends[reports]]
        jump = first.copy()
        jump[:, 1:] -= last[:, :-1]
        return SideBySide(self.ticks[reports], self.interval_us[ticks], jump, self.change[:, ticks])

    def energy_uj(self, layout: NodeLayout) -> Ints:
        """Return what the meters delivered in each Report, where all of its layout's series are here."""
        energy = np.where((layout.energy_row >= 0)[:, None], self.change[layout.energy_row], 0)
        starts = np.cumsum(self.ticks) - self.ticks
        return np.asarray(np.add.reduceat(drawn_uj(layout, energy), starts))

    def unix_us(self, end_unix_us: Ints) -> Ints:
        """Return the wall clock at the end of every tick, from that at the end of each Report."""
        passed = self.interval_us.cumsum()
        at_end = passed[np.cumsum(self.ticks) - 1]
        return np.asarray(np.repeat(end_unix_us - at_end, self.ticks) + passed)

    def levels(self, rows: Ints | slice = slice(None)) -> Ints:
        """Return the readings at the end of every tick, of some series where they are given."""
        level = self.change[rows].cumsum(axis=1)
        return np.asarray(level + np.repeat(self.jump[rows].cumsum(axis=1), self.ticks, axis=1))


def side_by_side(reports: Sequence[Packed]) -> SideBySide:
    """Lay Reports of one layout side by side."""
    unpacked = [unpack(report) for _, _, report in reports]
    first = np.stack([values[:, 0] for _, values in unpacked], axis=1)
    last = first + np.stack([values[:, 1:].sum(axis=1) for _, values in unpacked], axis=1)
    jump = first.copy()
    jump[:, 1:] -= last[:, :-1]
    return SideBySide(
        ticks=np.array([len(lengths) for lengths, _ in unpacked], dtype=np.int64),
        interval_us=np.concatenate([lengths for lengths, _ in unpacked]),
        jump=jump,
        change=np.concatenate([values[:, 1:] for _, values in unpacked], axis=1),
    )


def units_of(change: Ints) -> Ints:
    """Return the greatest number that all changes of each row are multiples of, 1 for a row of zeros.

    CPU time comes in whole ticks of the kernel's clock, memory in pages: what is common takes no room.
    """
    units: Ints = np.gcd.reduce(change[:, :_FIRST], axis=1)
    # Of most rows the first few tell already that it is 1.
    coarse = np.flatnonzero(units != 1)
    units[coarse] = np.gcd.reduce(change[coarse], axis=1)
    return np.maximum(units, 1)


def lists(values: Ints) -> pa.ListArray:
    """Return an Arrow column with a list of equal length a row."""
    rows, length = values.shape
    offsets = (
        np.arange(0, rows * length + 1, max(length, 1), dtype=np.int32) if length else np.zeros(rows + 1)
    )
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(np.ascontiguousarray(values).ravel())
    )


def lists_by(values: Ints, lengths: Ints) -> pa.ListArray:
    """Return an Arrow column with a list of each length a row."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Begin a file of a block."""
    leaves = [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=9,
        use_dictionary=False,
        column_encoding={name: _ENCODING[name] for name in leaves if name in _ENCODING},
        data_page_size=8 << 20,
        max_rows_per_page=1 << 30,
    )
