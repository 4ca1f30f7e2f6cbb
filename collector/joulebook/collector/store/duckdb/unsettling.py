"""Bring the Reports of blocks back into the tables, and have series by minute of their hours made anew."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from joulebook.collector.store.duckdb.blocks import Strip
from joulebook.collector.store.duckdb.files import KINDS, READINGS, REPORTS
from joulebook.collector.store.duckdb.rolling_up import RollingUp
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.v1 import report_pb2


def unsettle(store: DuckDBStore, which: str, *, minutes: bool) -> None:
    """Empty the blocks of hours on a condition; all that is in the tables is to be rolled up anew.

    minutes: of series by minute and hour too. Else these stay, whose Reports may be in the next hour's block.
    """
    assert store.files is not None
    blocks = store._rows(f"SELECT block_id, hour, has_raw FROM blocks WHERE {which} ORDER BY block_id")
    with store.writing() as connection:
        _empty(store, connection, blocks)
        if minutes:
            connection.execute(f"DELETE FROM blocks WHERE {which}")
            connection.execute(f"DELETE FROM hours WHERE {which}")
    kinds = KINDS if minutes else (READINGS, REPORTS)
    store.files.remove(store.files.path(kind, block, of) for block, of, _ in blocks for kind in kinds)


def roll_up_anew(store: DuckDBStore, rolling_up: RollingUp, hour: int) -> None:
    """Roll up all Reports that are in the tables, into minutes from an hour on alone.

    A Report that reaches back behind it, or is a boot's newest of before it, is in the minutes there already.
    """
    before = f"WHERE minute < {hour * 60}"
    with store.writing() as connection:
        connection.execute(f"CREATE TEMP TABLE left_minutes AS FROM minutes {before}")
        connection.execute("DELETE FROM minutes")
    for _ in rolling_up.steps():
        pass
    with store.writing() as connection:
        connection.execute(f"DELETE FROM minutes {before}")
        connection.execute("INSERT INTO minutes FROM left_minutes")
        connection.execute("DROP TABLE left_minutes")


def _empty(
    store: DuckDBStore, connection: duckdb.DuckDBPyConnection, blocks: Sequence[tuple[int, int, bool]]
) -> None:
    rebooked = set(store._rows("SELECT block_id FROM blocks WHERE rebooked"))
    nodes = set(store._rows("SELECT block_id, node_id FROM rebooked_nodes"))
    for block, of, has_raw in blocks:
        if has_raw:
            for strip in store._strips([(block, of)], "true"):
                insert(connection, "intervals", _rows(store, strip))
                if (block,) in rebooked or (block, strip.node_id) in nodes:
                    insert(connection, "rebooked_alone", pa.table({"interval_id": strip.interval_id}))
    numbers = [[block for block, _, _ in blocks]]
    for table in ("runs", "measured_blocks", "rebooked_nodes"):
        connection.execute(f"DELETE FROM {table} WHERE list_contains($1::INTEGER[], block_id)", numbers)
    connection.execute(
        "UPDATE blocks SET reports = 0, samples = 0, raw_bytes = 0, has_raw = false "
        "WHERE list_contains($1::INTEGER[], block_id)",
        numbers,
    )
    connection.execute("DELETE FROM blocks WHERE reports = 0 AND NOT has_minutes")
    connection.execute("DELETE FROM measured")
    connection.execute("UPDATE rolled SET interval_id = -1")


def _rows(store: DuckDBStore, strip: Strip) -> pa.Table:
    """Return a strip's Reports as rows of intervals, each in one piece again."""
    count = len(strip.start_us)
    layout = store._layout(strip.layout_id)
    ((boot,),) = store._rows("SELECT boot FROM boots WHERE boot_id = ?", [strip.boot_id])
    begins = np.cumsum(strip.beside.ticks) - strip.beside.ticks
    reports = []
    for i, values in enumerate(strip.beside.values()):
        begin = int(begins[i])
        report = report_pb2.Report(
            node=layout.node,
            boot=bytes(boot),
            sequence=int(strip.start_us[i]),
            layout_hash=layout.hash,
            realtime_offset_us=int(strip.end_unix_us[i] - strip.end_us[i]),
        )
        report.interval_us.extend(
            strip.beside.interval_us[begin : begin + int(strip.beside.ticks[i])].tolist()
        )
        report.values.extend(values.ravel().tolist())
        reports.append(report.SerializeToString())
    return pa.table(
        {
            "interval_id": strip.interval_id,
            "node_id": np.full(count, strip.node_id),
            "boot_id": np.full(count, strip.boot_id),
            "layout_id": np.full(count, strip.layout_id),
            "is_gap": np.zeros(count, dtype=bool),
            "start_us": strip.start_us,
            "end_us": strip.end_us,
            "end_unix_us": strip.end_unix_us,
            "unread_us": strip.unread_us,
            "raised_uj": strip.raised_uj,
            "missing_ppm": np.zeros(count, dtype=np.int64),
            "report": pa.array(reports, pa.binary()),
        }
    )
