"""The tables of a month's books, written in bulk as the collector would have written them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from joulebook.collector.ledger.figures import TIER_ENERGIES
from joulebook.collector.store.duckdb import block, rollup
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES, Files
from joulebook.collector.store.duckdb.ledger_sums import NAMES, OF_SUMS, ceiling
from joulebook.collector.store.duckdb.spans import FORGOTTEN
from joulebook.collector.store.duckdb.staging import insert

_REPORT_US, _MINUTE_US, _CELL_US, _DAY_US = 10_000_000, 60_000_000, 600_000_000, 24 * HOUR_US
# Intervals below it are of the month; what is booked after it goes on from there.
FIRST_ID = 1 << 34
# How long the narrow cells of all nodes are kept.
_NARROW_US = 2 * _DAY_US


def _amounts(energy_uj: str, count: str, width_us: int, start: str) -> str:
    """Return SQL for the columns of NAMES, of energy that is a multiple of 10."""
    tenths = {"cpu_active": 2, "memory_active": 1, "gpu_active": 3, "storage_active": 0, "network_active": 0}
    tenths |= {"platform_active": 1, "cpu_idle": 1, "memory_idle": 0, "gpu_idle": 1, "storage_idle": 0}
    tenths |= {"network_idle": 0, "platform_idle": 1}
    shares = [f"({energy_uj} // 10 * {n})::HUGEINT AS {name}_uj" for name, n in tenths.items()]
    shares += [
        *(f"0::HUGEINT AS {name}" for name in TIER_ENERGIES),
        "0::HUGEINT AS modelled_uj",
        f"({energy_uj} // 50)::HUGEINT AS systematic_uj",
        f"({energy_uj} // 1000)::HUGEINT AS variance_uj2",
        f"({count} * {width_us})::HUGEINT AS duration_us",
    ]
    return ", ".join([*shares, f"{start} AS first_unix_us", f"{start} + {width_us} AS last_unix_us"])


def statements(first_us: int, last_us: int, nodes: int) -> Iterator[tuple[str, str]]:
    """Give what to execute, and what it fills."""
    cells = f"range({first_us}, {last_us}, {_CELL_US})"
    yield (
        "cells of nodes",
        f"""
        INSERT INTO node_cells
        SELECT cell_us, node_id, account_id, (second_uj * 600)::HUGEINT FROM (
            SELECT unnest(range(first_us, last_us, {_CELL_US})) AS cell_us, node_id, account_id, second_uj
            FROM placed UNION ALL
            SELECT c, n, a, CASE a WHEN 1 THEN 15000000 WHEN 2 THEN 500000 ELSE 40000000 END + n % 50 * 10
            FROM {cells} AS c(c), range({nodes}) AS n(n), range(3) AS a(a))
        ORDER BY cell_us // {HOUR_US}, node_id, account_id, cell_us
        """,
    )
    # Rows Report by Report of the hours in which ranges of an hour, a day and 30 days begin.
    some = " OR ".join(
        f"(cell_us >= {at - HOUR_US} AND cell_us < {at + HOUR_US})"
        for at in (first_us, last_us - _DAY_US, last_us)
    )
    ticks = f"""
        (SELECT unnest(range(cell_us, cell_us + {_CELL_US}, {_REPORT_US})) AS began_us, node_id, account_id,
                energy_uj // {_CELL_US // _REPORT_US} AS uj FROM node_cells WHERE {some})"""
    number = f"(began_us - {first_us}) // {_REPORT_US} * {nodes} + node_id"
    amounts = _amounts("uj", "1", _REPORT_US, "began_us").partition(", began_us AS first_unix_us")[0]
    yield (
        "rows of some hours",
        f"""
        INSERT INTO ledger BY NAME
        SELECT {number} AS interval_id, node_id, account_id, began_us + {_REPORT_US} AS end_unix_us, {amounts}
        FROM {ticks} ORDER BY interval_id, account_id
        """,
    )
    yield (
        "watched rows of some hours",
        f"""
        INSERT INTO watched_reports BY NAME
        SELECT DISTINCT {number} AS interval_id, node_id, began_us + {_REPORT_US} AS end_unix_us,
            {_REPORT_US} AS reported_us, 0 AS unread_us, 0 AS raised_uj FROM {ticks} ORDER BY interval_id
        """,
    )
    hour = f"cell_us // {HOUR_US} * {HOUR_US}"
    yield (
        "hours of nodes by time",
        f"""
        INSERT INTO node_cell_hours
        SELECT {hour} AS hour_us, node_id, account_id, sum(energy_uj)::HUGEINT FROM node_cells GROUP BY ALL
        ORDER BY hour_us, node_id
        """,
    )
    yield (
        "hours of nodes",
        f"""
        INSERT INTO node_hours (bucket_us, node_id, account_id, {NAMES})
        SELECT hour_us + {HOUR_US}, node_id, account_id, {
            _amounts("uj", "count", _CELL_US, "began").replace(f"began + {_CELL_US} AS", "ended AS")
        }
        FROM (SELECT {hour} AS hour_us, node_id, account_id, sum(energy_uj) AS uj, count(*) AS count,
                     min(cell_us) AS began, max(cell_us) + {_CELL_US} AS ended
              FROM node_cells GROUP BY ALL) ORDER BY hour_us, node_id
        """,
    )
    yield (
        "cells of all nodes",
        """
        CREATE TEMP TABLE fleet AS
        SELECT cell_us, account_id, sum(energy_uj) AS uj, count(*) AS count FROM node_cells GROUP BY ALL
        """,
    )
    yield (
        "minutes of all nodes",
        f"""
        INSERT INTO fleet_minutes (from_id, bucket_us, account_id, {NAMES})
        SELECT 0, minute_us + {_MINUTE_US}, account_id, {_amounts("uj", "count", _MINUTE_US, "minute_us")}
        FROM (SELECT unnest(range(cell_us, cell_us + {_CELL_US}, {_MINUTE_US})) AS minute_us, account_id,
                     uj // 10 AS uj, count FROM fleet) ORDER BY minute_us
        """,
    )
    yield (
        "hours of all nodes",
        f"""
        INSERT INTO fleet_hours (bucket_us, account_id, {NAMES})
        SELECT hour_us + {HOUR_US}, account_id, {
            _amounts("uj", "count", _CELL_US, "began").replace(f"began + {_CELL_US} AS", "ended AS")
        }
        FROM (SELECT {hour} AS hour_us, account_id, sum(uj) AS uj, sum(count) AS count,
                     min(cell_us) AS began, max(cell_us) + {_CELL_US} AS ended FROM fleet GROUP BY ALL)
        ORDER BY hour_us
        """,
    )
    for owner, keys in (("node", "node_id, account_id"), ("fleet", "account_id")):
        yield (
            f"days, {owner}",
            f"""
            INSERT INTO {owner}_days (bucket_us, {keys}, {NAMES})
            SELECT {ceiling("bucket_us", _DAY_US)} AS day_us, {keys}, {OF_SUMS} FROM {owner}_hours
            GROUP BY ALL ORDER BY day_us, {keys}
            """,
        )
    for table, width_us, since_us in (
        ("fleet_cells", 5_000_000, last_us - _NARROW_US),
        ("fleet_cell_minutes", _MINUTE_US, first_us),
    ):
        into = "0, unnest" if table == "fleet_cells" else "unnest"
        yield (
            table,
            f"""
            INSERT INTO {table} SELECT {into}(range(cell_us, cell_us + {_CELL_US}, {width_us})) AS at,
                account_id, (uj // {_CELL_US // width_us})::HUGEINT
            FROM (FROM fleet ORDER BY cell_us) WHERE cell_us >= {since_us}
            """,
        )
    yield (
        "fleet_cell_hours",
        f"""
        INSERT INTO fleet_cell_hours SELECT {hour} AS hour_us, account_id, sum(uj)::HUGEINT FROM fleet
        GROUP BY ALL ORDER BY hour_us
        """,
    )
    yield (
        "totals",
        f"""
        INSERT INTO totals (account_id, node_id, {NAMES})
        SELECT account_id, node_id, {
            _amounts("uj", "count", _CELL_US, "began").replace(f"began + {_CELL_US} AS", "ended AS")
        }
        FROM (SELECT account_id, node_id, sum(energy_uj) AS uj, count(*) AS count,
                     min(cell_us) AS began, max(cell_us) + {_CELL_US} AS ended FROM node_cells GROUP BY ALL)
        ORDER BY account_id, node_id
        """,
    )
    yield (
        "watched hours",
        f"""
        INSERT INTO watched_hours SELECT hour_us + {HOUR_US}, node_id, sum({_CELL_US})::HUGEINT, 0, 0
        FROM (SELECT DISTINCT {hour} AS hour_us, cell_us, node_id FROM node_cells)
        GROUP BY hour_us, node_id ORDER BY ALL
        """,
    )
    yield (
        "watched minutes",
        f"""
        INSERT INTO watched_minutes SELECT 0, m + {_MINUTE_US}, {_MINUTE_US}::HUGEINT * {nodes}, 0, 0
        FROM range({first_us}, {last_us}, {_MINUTE_US}) AS m(m)
        """,
    )
    yield (
        "hours of series",
        f"""
        INSERT INTO hours
        SELECT metric, series_id, h, least({HOUR_US}, {last_us} - h * {HOUR_US}),
            3600000000 + series_id * 17 + h % 1000, 3600000000.0 * (200 + series_id % 100), 100, 400
        FROM range({first_us // HOUR_US}, {-(-last_us // HOUR_US)}) AS h(h), series
        ORDER BY h, metric, series_id
        """,
    )
    marks = ", ".join(f"{mark}_id = {FIRST_ID}" for mark in ("total", "minute", "hour", "day"))
    yield "marks", f"UPDATE added_up SET {marks}"
    yield "marks of readings", f"UPDATE rolled SET interval_id = {FIRST_ID - 1}"
    yield "readings forgotten", f"UPDATE forgotten SET raw_unix_us = {last_us}"


def blocks(
    connection: duckdb.DuckDBPyConnection, store: Path, first_us: int, last_us: int, nodes: int, boot_us: int
) -> None:
    """Write blocks: what was measured in each, marks of the forgotten Reports, and the last day by minute."""
    files = Files(store)
    hours = np.arange(first_us // HOUR_US, -(-last_us // HOUR_US))
    connection.execute(
        f"""
        INSERT INTO blocks
        SELECT h - {hours[0]}, h, {nodes} * 360, {FIRST_ID - 1}, 0, 0, false, 0, 0, false, true
        FROM range({hours[0]}, {hours[-1] + 1}) AS h(h)
        """
    )
    connection.execute(
        f"""
        INSERT INTO measured_blocks SELECT cell_us // {HOUR_US} - {hours[0]}, node_id, sum(energy_uj)::BIGINT
        FROM node_cell_hours GROUP BY ALL ORDER BY ALL
        """
    )
    runs = {
        "block_id": np.full(nodes, FORGOTTEN),
        "boot_id": np.arange(nodes),
        "start_us": np.full(nodes, 0),
        "end_us": np.full(nodes, boot_us),
    }
    insert(connection, "runs", pa.table(runs))
    for hour in hours[-24:].tolist():
        path = files.path(MINUTES, hour - int(hours[0]), hour)
        place = files.make_room(path)
        table = connection.sql(
            f"""
            SELECT metric::SMALLINT AS metric, series_id, minute::INTEGER AS minute,
                60000000::BIGINT AS covered_us,
                60000000 + series_id * 17 + minute % 1000 AS total,
                60000000.0 * (200 + (series_id + minute) % 100) AS weighted, 100::BIGINT AS least,
                400::BIGINT AS most
            FROM series, range({hour * 60}, {min((hour + 1) * 60, last_us // _MINUTE_US)}) AS m(minute)
            ORDER BY metric, series_id, minute
            """
        ).to_arrow_table()
        with block.writer(place, rollup.SCHEMA) as file:
            for begin in range(0, table.num_rows, 122_880):
                file.write_table(table.slice(begin, 122_880).cast(rollup.SCHEMA))
        place.rename(path)
        connection.execute(
            "UPDATE blocks SET has_minutes = true, minutes = ?, minutes_bytes = ? WHERE hour = ?",
            [table.num_rows, path.stat().st_size, hour],
        )
