"""What is read from blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.store.duckdb import damage
from joulebook.collector.store.duckdb.block import SideBySide
from joulebook.collector.store.duckdb.connected import Connected
from joulebook.collector.store.duckdb.files import HOUR_US, READINGS, REPORTS
from joulebook.collector.store.protocol import Range

Ints = npt.NDArray[np.int64]
# block and hour
Block = tuple[int, int]
_MARKS = (
    "block_id, strip, interval_id, node_id, boot_id, layout_id, start_us, end_us, end_unix_us, unread_us, "
    "raised_uj, measured_uj"
)


@dataclass(frozen=True, slots=True)
class Strip:
    """A node's Reports of one boot and layout in a block, in order, and some of their series."""

    block: Block
    node_id: int
    boot_id: int
    layout_id: int
    interval_id: Ints
    start_us: Ints
    end_us: Ints
    end_unix_us: Ints
    unread_us: Ints
    raised_uj: Ints
    # The numbers of the series that were asked for.
    series: Ints
    beside: SideBySide


class BlockReads(Connected):
    """Blocks of Reports, as they are registered."""

    def _blocks(self, selected: Range) -> list[Block]:
        """Return the blocks that hold readings of Reports that ended in a range."""
        found = self._rows(
            f"""
            SELECT block_id, hour FROM blocks
            WHERE has_raw AND hour >= $1::HUGEINT // {HOUR_US} AND hour * {HOUR_US} < $2::HUGEINT
            ORDER BY hour, block_id
            """,
            [selected.from_us, selected.to_us],
        )
        return [(block, hour) for block, hour in found]

    def _parquet(self, kind: str, blocks: Sequence[Block]) -> str:
        """Return what to select from for blocks' files."""
        assert self.files is not None
        names = (str(self.files.path(kind, *one)).replace("'", "''") for one in blocks)
        return "read_parquet([" + ", ".join(f"'{name}'" for name in names) + "], hive_partitioning = false)"

    def _marks(self, selected: Range, columns: str) -> str:
        """Return what to select columns of Reports and gaps from, wherever they are kept."""
        blocks = self._blocks(selected)
        fresh = f"SELECT {columns} FROM intervals"
        if not blocks:
            return f"({fresh})"
        settled = f"SELECT *, false AS is_gap, 0 AS missing_ppm FROM {self._parquet(REPORTS, blocks)}"
        return f"({fresh} UNION ALL SELECT {columns} FROM ({settled}))"

    def _strips(self, blocks: Sequence[Block], owners: str, series: str = "true") -> Iterator[Strip]:
        """Give the strips of blocks whose node and boot are as told, with the series that are as told.

        Raises DamagedFileError, for a file that can be read and holds no strips too.
        """
        for one in blocks:
            strips = self._strips_of(one, owners, series)
            while True:
                with self._block_read(one):
                    if (own := next(strips, None)) is not None:
                        self._try(own)
                if own is None:
                    break
                yield own

    def _strips_of(self, one: Block, owners: str, series: str) -> Iterator[Strip]:
        marks = self._table(
            f"SELECT {_MARKS}, interval_us FROM {self._parquet(REPORTS, [one])} "
            f"WHERE {owners} ORDER BY strip, start_us",
            [],
        )
        if not marks.num_rows:
            return
        strips = marks["strip"].to_numpy()
        # A strip's series are in the order of its layout, which sorting by the strip alone may change.
        numbered = self._parquet(READINGS, [one]).removesuffix(")") + ", file_row_number = true)"
        readings = self._table(
            f"SELECT strip, series_id, unit, jump, change FROM {numbered} "
            f"WHERE strip BETWEEN {strips[0]} AND {strips[-1]} AND {series} "
            "ORDER BY strip, file_row_number",
            [],
        )
        yield from _joined(one, marks, readings)

    def _block_read(self, one: Block) -> AbstractContextManager[None]:
        """Tell which file of a block is damaged, where what was read of them makes no sense."""
        assert self.files is not None
        return damage.reading(self, [self.files.path(kind, *one) for kind in (REPORTS, READINGS)])

    def _try(self, own: Strip) -> None:
        """Raise ValueError or KeyError for a strip that is none of a layout's Reports."""
        reports, ticks, series = len(own.start_us), int(own.beside.ticks.sum()), len(own.series)
        shapes = (own.beside.interval_us.shape, own.beside.jump.shape, own.beside.change.shape)
        if shapes != ((ticks,), (series, reports), (series, ticks)) or not own.beside.ticks.all():
            raise ValueError(f"{reports} Reports of {ticks} ticks and {series} series have parts of {shapes}")
        node = self._node_name(own.node_id)
        if self._layout(own.layout_id).node != node or own.boot_id not in self._boots([own.boot_id]):
            raise ValueError(f"layout {own.layout_id} or boot {own.boot_id} is none of node {node!r}")


def _joined(block: Block, marks: pa.Table, readings: pa.Table) -> Iterator[Strip]:
    """Give strips of Reports and readings that are both in order of the strips."""
    columns = {name: marks[name].to_numpy() for name in marks.column_names if name != "interval_us"}
    lengths = marks["interval_us"].combine_chunks()
    ticks, interval_us = lengths.value_lengths().to_numpy(), lengths.flatten().to_numpy()
    tick_at = np.concatenate([[0], np.cumsum(ticks)])
    strip, series = readings["strip"].to_numpy(), readings["series_id"].to_numpy()
    unit = readings["unit"].to_numpy()
    jump, jump_at = _flat(readings["jump"])
    change, change_at = _flat(readings["change"])
    for number, begin, end in _stretches(columns["strip"]):
        first, last = np.searchsorted(strip, [number, number + 1])
        if first == last:
            continue
        own = slice(begin, end)
        yield Strip(
            block=block,
            node_id=int(columns["node_id"][begin]),
            boot_id=int(columns["boot_id"][begin]),
            layout_id=int(columns["layout_id"][begin]),
            interval_id=columns["interval_id"][own],
            start_us=columns["start_us"][own],
            end_us=columns["end_us"][own],
            end_unix_us=columns["end_unix_us"][own],
            unread_us=columns["unread_us"][own],
            raised_uj=columns["raised_uj"][own],
            series=series[first:last],
            beside=SideBySide(
                ticks=ticks[own].astype(np.int64),
                interval_us=interval_us[tick_at[begin] : tick_at[end]],
                jump=jump[jump_at[first] : jump_at[last]].reshape(last - first, -1),
                change=change[change_at[first] : change_at[last]].reshape(last - first, -1)
                * unit[first:last, None],
            ),
        )


def _flat(column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Return a column's lists one after the other, and where each begins."""
    joined = column.combine_chunks()
    return joined.flatten().to_numpy(), np.concatenate([[0], np.cumsum(joined.value_lengths().to_numpy())])


def _stretches(values: Ints) -> Iterator[tuple[int, int, int]]:
    """Give each stretch of equal values: the value, where it begins, and where it ends."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]]).tolist()
    for begin, end in pairwise(edges):
        yield int(values[begin]), begin, end
