"""Move what is settled of an hour out of the tables into a block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from joulebook.collector.store.duckdb import block, damage, rollup
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES, READINGS, REPORTS, Files, sync
from joulebook.collector.store.duckdb.marks import merged
from joulebook.collector.store.duckdb.rolls import keep_newest
from joulebook.collector.store.duckdb.series import SeriesNumbers
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.protocol import StoreError

Ints = npt.NDArray[np.int64]
_log = logging.getLogger(__name__)

# As many Reports are read and written in a step, or those of one node where they are more.
_AT_ONCE = 2_000
# The newest Report of a boot stays: the next one is compared with it.
_MOVABLE = f"""
    FROM intervals AS i JOIN rolled AS r ON node_id % 16 = part
    WHERE NOT is_gap AND i.interval_id <= r.interval_id AND (end_unix_us - 1) // {HOUR_US} = $1
        AND i.interval_id NOT IN (
            SELECT arg_max(interval_id, end_us) FROM intervals WHERE NOT is_gap GROUP BY boot_id)
"""
_COLUMNS = ("interval_id", "node_id", "boot_id", "layout_id", "start_us", "end_us", "end_unix_us")


class Settling:
    """One hour's move. What comes for that hour later makes another block."""

    def __init__(self, store: DuckDBStore, hour: int, series: SeriesNumbers) -> None:
        assert store.files is not None
        self._store, self._hour, self._series = store, hour, series
        self._files: Files = store.files
        ((self._block,),) = store._rows("SELECT coalesce(max(block_id) + 1, 0) FROM blocks")
        self._marks: list[dict[str, Any]] = []
        self._samples = 0
        self._strips = 0

    def steps(self) -> Iterator[str]:
        """Write files, then have one transaction vouch for them and remove the rows that they replace."""
        table = self._store._table(
            f"SELECT i.interval_id, node_id, boot_id, layout_id, start_us {_MOVABLE} "
            "ORDER BY node_id, boot_id, layout_id, start_us",
            [self._hour],
        )
        written = []
        if table.num_rows:
            yield from self._write_reports(table)
            written += [self._path(READINGS), self._path(REPORTS)]
        minutes = self._write_minutes()
        if minutes:
            yield "wrote minutes"
            written.append(self._path(MINUTES))
        if not written:
            return
        for path in written:
            sync(path.with_suffix(".tmp"))
        yield "synced"
        for path in written:
            path.with_suffix(".tmp").rename(path)
        yield "renamed"
        for directory in {path.parent for path in written}:
            sync(directory)
        yield "synced names"
        self._register(table.num_rows, minutes)
        yield "moved"

    def _path(self, kind: str) -> Path:
        return self._files.path(kind, self._block, self._hour)

    def _write_reports(self, table: pa.Table) -> Iterator[str]:
        places = [self._files.make_room(self._path(kind)) for kind in (READINGS, REPORTS)]
        with (
            block.writer(places[0], block.READINGS) as readings,
            block.writer(places[1], block.REPORTS) as marks,
        ):
            for numbers in _batches(table):
                self._write(numbers, readings, marks)
                yield "wrote readings"

    def _write(self, numbers: Ints, readings: pq.ParquetWriter, marks: pq.ParquetWriter) -> None:
        rows = self._store._rows(
            f"""
            SELECT i.{", i.".join(_COLUMNS)}, unread_us, raised_uj, report
            FROM (SELECT unnest($1::BIGINT[]) AS interval_id) JOIN intervals AS i USING (interval_id)
            ORDER BY node_id, boot_id, layout_id, start_us
            """,
            [numbers.tolist()],
        )
        layouts = {(row[3], row[1]) for row in rows}
        if self._series.lacks(layouts):
            try:
                with self._store.writing() as connection:
                    self._series.learn(connection, layouts, self._store._layout)
            except BaseException:
                self._series.forget()
                raise
        series_rows, report_rows = [], []
        for (_, _, layout_id), group in groupby(rows, key=lambda r: r[1:4]):
            own = list(group)
            layout = self._store._layout(layout_id)
            beside = block.side_by_side([(r[0], r[6], r[-1]) for r in own])
            count, units = len(layout.is_counter), block.units_of(beside.change)
            series_rows.append(
                {
                    "metric": layout.metrics.astype(np.int16),
                    "series_id": self._series.of(layout_id),
                    "strip": np.full(count, self._strips, dtype=np.int32),
                    "jump": block.lists(beside.jump),
                    "unit": units,
                    "change": block.lists(beside.change // units[:, None]),
                }
            )
            columns = np.array([r[:-1] for r in own], dtype=np.int64).T
            report_rows.append(
                {
                    **dict(zip((*_COLUMNS, "unread_us", "raised_uj"), columns, strict=True)),
                    "strip": np.full(len(own), self._strips, dtype=np.int32),
                    "measured_uj": beside.energy_uj(layout),
                    "interval_us": block.lists_by(beside.interval_us, beside.ticks),
                }
            )
            self._samples += beside.change.size
            self._strips += 1
        readings.write_table(self._joined(series_rows, block.READINGS))
        marks.write_table(self._joined(report_rows, block.REPORTS))
        self._marks += [{n: part[n] for n in (*_COLUMNS, "measured_uj")} for part in report_rows]

    def _joined(self, parts: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        tables = [
            pa.table(
                [
                    pa.array(np.full(len(part["strip"]), self._block, dtype=np.int32))
                    if name == "block_id"
                    else pa.array(part[name]).cast(schema.field(name).type)
                    for name in schema.names
                ],
                schema=schema,
            )
            for part in parts
        ]
        return pa.concat_tables(tables).combine_chunks()

    def _write_minutes(self) -> int:
        """Write the minutes of the hour, in order of metric and series, in which they are asked for."""
        ((rows,),) = self._store._rows("SELECT count(*) FROM minutes WHERE minute // 60 = $1", [self._hour])
        if not rows:
            return 0
        place = self._files.make_room(self._path(MINUTES))
        written = 0
        with self._store._cursor() as cursor, block.writer(place, rollup.SCHEMA) as file:
            batches = cursor.sql(
                f"SELECT metric, series_id, minute, {rollup.SUMS} FROM minutes WHERE minute // 60 = $1 "
                "GROUP BY metric, series_id, minute ORDER BY metric, series_id, minute",
                params=[self._hour],
            ).to_arrow_reader(122_880)
            for batch in batches:
                file.write_table(pa.Table.from_batches([batch]).cast(rollup.SCHEMA))
                written += batch.num_rows
        return written

    def _register(self, reports: int, minutes: int) -> None:
        def column(name: str) -> Ints:
            own = [part[name] for part in self._marks]
            return np.concatenate(own) if own else np.zeros(0, dtype=np.int64)

        def size(*kinds: str) -> int:
            return sum(self._path(kind).stat().st_size for kind in kinds)

        moved = column("interval_id")
        if len(moved) != reports:
            raise StoreError(f"store: {len(moved)} Reports of hour {self._hour} were written, not {reports}")
        raw_bytes = size(READINGS, REPORTS) if reports else 0
        minutes_bytes = size(MINUTES) if minutes else 0
        boot, start_us, end_us = merged(column("boot_id"), column("start_us"), column("end_us"))
        nodes, place = np.unique(column("node_id"), return_inverse=True)
        measured = np.zeros(len(nodes), dtype=np.int64)
        np.add.at(measured, place, column("measured_uj"))
        kinds = ([READINGS, REPORTS] if reports else []) + ([MINUTES] if minutes else [])
        files = [(self._block, kind, *damage.digest(self._path(kind))) for kind in kinds]
        with self._store.writing() as connection:
            # A restore to a time may have given a number back.
            connection.execute("DELETE FROM block_files WHERE block_id = ?", [self._block])
            connection.executemany("INSERT INTO block_files VALUES (?, ?, ?, ?)", files)
            connection.execute(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, false)",
                [
                    self._block,
                    self._hour,
                    reports,
                    int(moved.max(initial=-1)),
                    self._samples,
                    raw_bytes,
                    reports > 0,
                    minutes,
                    minutes_bytes,
                    minutes > 0,
                ],
            )
            number = np.full(len(boot), self._block)
            runs = {"block_id": number, "boot_id": boot, "start_us": start_us, "end_us": end_us}
            insert(connection, "runs", pa.table(runs))
            number = np.full(len(nodes), self._block)
            sums = {"block_id": number, "node_id": nodes, "measured_uj": measured}
            insert(connection, "measured_blocks", pa.table(sums))
            connection.execute(
                f"INSERT INTO hours SELECT metric, series_id, $1, {rollup.SUMS} FROM minutes "
                "WHERE minute // 60 = $1 GROUP BY metric, series_id ORDER BY metric, series_id",
                [self._hour],
            )
            connection.execute("DELETE FROM minutes WHERE minute // 60 = $1", [self._hour])
            connection.register("moved", pa.table({"interval_id": moved}))
            # Rolling up may not have come so far: a clock that is set back lets it wait.
            keep_newest(connection, "interval_id IN (SELECT interval_id FROM moved)")
            for table in ("intervals", "measured"):
                connection.execute(
                    f"DELETE FROM {table} WHERE interval_id IN (SELECT interval_id FROM moved)"
                )
            connection.unregister("moved")


def _batches(table: pa.Table) -> Iterator[Ints]:
    """Give the numbers of Reports, several strips at a time, none in two parts."""
    numbers = table["interval_id"].to_numpy()
    keys = np.stack([table[n].to_numpy() for n in ("node_id", "boot_id", "layout_id")])
    strips = np.concatenate(
        [[0], np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1, [len(numbers)]]
    )
    begin = 0
    for end, following in zip(strips[1:].tolist(), [*strips[2:].tolist(), 1 << 62], strict=True):
        if following - begin > _AT_ONCE:
            yield numbers[begin:end]
            begin = end
