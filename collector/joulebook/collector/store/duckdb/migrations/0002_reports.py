"""A fresh Report is kept in one piece, as it came, instead of a row a series."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from joulebook.v1 import report_pb2

_TABLE = """
CREATE TABLE reports_made (interval_id BIGINT, report BLOB);
CREATE TABLE intervals_made (
    interval_id BIGINT, node_id INTEGER, boot_id INTEGER, layout_id INTEGER, is_gap BOOLEAN,
    start_us BIGINT, end_us BIGINT, end_unix_us BIGINT,
    unread_us BIGINT, raised_uj BIGINT, missing_ppm INTEGER, report BLOB USING COMPRESSION zstd);
"""
_REPLACE = """
INSERT INTO intervals_made
    SELECT interval_id, node_id, boot_id, layout_id, is_gap, start_us, end_us, end_unix_us,
           unread_us, raised_uj, missing_ppm, report
    FROM intervals LEFT JOIN reports_made USING (interval_id) ORDER BY interval_id;
DROP TABLE reports_made;
DROP TABLE chunks;
DROP TABLE intervals;
ALTER TABLE intervals_made RENAME TO intervals;
"""


def step(connection: duckdb.DuckDBPyConnection, _path: Path) -> None:
    """Make Reports of their rows, those of one layout at a time."""
    connection.execute(_TABLE)
    layouts = connection.execute("SELECT layout_id, node_id, node FROM layouts JOIN nodes USING (node_id)")
    for layout_id, node_id, node in layouts.fetchall():
        made = _reports(connection, layout_id, node_id, node)
        if made:
            connection.register("made", pa.table({"n": [n for n, _ in made], "r": [r for _, r in made]}))
            connection.execute("INSERT INTO reports_made SELECT n, r FROM made")
            connection.unregister("made")
    connection.execute(_REPLACE)


def _reports(
    connection: duckdb.DuckDBPyConnection, layout_id: int, node_id: int, node: str
) -> list[tuple[int, bytes]]:
    ((hash_, serialized),) = connection.execute(
        "SELECT hash, serialized FROM layouts WHERE layout_id = ?", [layout_id]
    ).fetchall()
    message = report_pb2.Layout.FromString(serialized)
    names = [["", *names] for names in _names(message)]
    columns = (message.series_domain, message.series_device, message.series_workload)
    named = [[own[place] for place in column] for own, column in zip(names, columns, strict=True)]
    numbers = {
        tuple(key): number
        for *key, number in connection.execute(
            "SELECT metric, domain, device, workload, series_id FROM series WHERE node_id = ?", [node_id]
        ).fetchall()
    }
    order = [numbers[key] for key in zip(message.series_metric, *named, strict=True)] if numbers else []
    chunks: dict[int, dict[int, list[int]]] = {}
    for interval, series, first, change in connection.execute(
        "SELECT interval_id, series_id, first, change FROM chunks JOIN intervals USING (interval_id) "
        "WHERE layout_id = ? AND NOT is_gap",
        [layout_id],
    ).fetchall():
        chunks.setdefault(interval, {})[series] = [first, *change]
    made = []
    for interval, boot, start_us, end_us, end_unix_us, interval_us in connection.execute(
        "SELECT interval_id, boot, start_us, end_us, end_unix_us, interval_us FROM intervals "
        "JOIN boots USING (boot_id) WHERE layout_id = ? AND NOT is_gap",
        [layout_id],
    ).fetchall():
        report = report_pb2.Report(
            node=node,
            boot=boot,
            sequence=start_us,
            layout_hash=hash_,
            realtime_offset_us=end_unix_us - end_us,
            interval_us=interval_us,
        )
        for series in order:
            report.values.extend(chunks[interval][series])
        made.append((interval, report.SerializeToString()))
    return made


def _names(message: report_pb2.Layout) -> tuple[list[str], list[str], list[str]]:
    return (
        [d.name for d in message.domains],
        [d.name for d in message.devices],
        [w.id for w in message.workloads],
    )
