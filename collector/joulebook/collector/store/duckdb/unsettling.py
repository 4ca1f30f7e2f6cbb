"""Bring the Reports of blocks back into the tables, and have all that is fresh rolled up anew."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from joulebook.collector.store.duckdb.blocks import Strip
from joulebook.collector.store.duckdb.files import KINDS
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.v1 import report_pb2


def unsettle(store: DuckDBStore, which: str) -> None:
    """Empty the blocks of hours for which a condition holds. What was rolled up of others is not touched."""
    assert store.files is not None
    blocks = store._rows(f"SELECT block_id, hour, has_raw FROM blocks WHERE {which} ORDER BY block_id")
    with store.writing() as connection:
        _empty(store, connection, blocks, which)
    store.files.remove(store.files.path(kind, block, of) for block, of, _ in blocks for kind in KINDS)


def _empty(
    store: DuckDBStore,
    connection: duckdb.DuckDBPyConnection,
    blocks: Sequence[tuple[int, int, bool]],
    which: str,
) -> None:
    rebooked = set(store._rows("SELECT block_id FROM blocks WHERE rebooked"))
    nodes = set(store._rows("SELECT block_id, node_id FROM rebooked_nodes"))
    for block, of, has_raw in blocks:
        if has_raw:
            for strip in store._strips([(block, of)], "true"):
                insert(connection, "intervals", _rows(store, strip))
                if (block,) in rebooked or (block, strip.node_id) in nodes:
                    insert(connection, "rebooked_alone", pa.table({"interval_id": strip.interval_id}))
    for table in ("runs", "measured_blocks", "rebooked_nodes", "blocks"):
        connection.execute(
            f"DELETE FROM {table} WHERE list_contains($1::INTEGER[], block_id)", [[b for b, _, _ in blocks]]
        )
    connection.execute(f"DELETE FROM hours WHERE {which}")
    connection.execute("DELETE FROM minutes")
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
