"""Put other rows in the ledger's place, and what they differ by into everything that was added up of it.

A roll-up holds the rows below its mark, so it is told of those that were below it and of no others; the rest
it will find in the ledger. Whatever is done twice changes nothing the second time.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.book_parts import Marks
from joulebook.collector.store.duckdb.ledger_sums import ENERGY_UJ, OF_SUMS, SUMS, ceiling
from joulebook.collector.store.duckdb.rolls import (
    CELL_US,
    DAY_US,
    HOUR_US,
    LONG_US,
    MINUTE_US,
    NODE_CELL_US,
    spread,
)
from joulebook.collector.store.protocol import StoreError

COLUMNS = ("interval_id", "node_id", "account_id", "end_unix_us", "duration_us", *SUMS[:-1])
_AMOUNTS = SUMS[:-1]
_KEY = ("interval_id", "node_id", "account_id")
# What changes count: a row that goes counts against one that comes.
_OF_CHANGES = ", ".join(f"sum(sign * {name})::HUGEINT AS {name}" for name in SUMS) + (
    ", min(end_unix_us - duration_us) AS first_unix_us, max(end_unix_us) AS last_unix_us"
)


def replace_rows(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> dict[int, int]:
    """Book Reports by these rows (COLUMNS) instead, in the caller's transaction.

    Returns by how much each account's energy changed, in µJ, of those whose rows are others now. An account
    that receives nothing any more keeps a row, so what was observed of it stays. Raises StoreError where the
    rows do not have each Report's energy, by class.
    """
    _find_changes(connection, rows)
    _check_totals(connection)
    differs = dict(
        connection.execute(
            f"SELECT account_id, sum(sign * {ENERGY_UJ})::HUGEINT FROM changed GROUP BY ALL"
        ).fetchall()
    )
    if differs:
        _replace(connection)
        (marks,) = connection.execute("SELECT total_id, minute_id, hour_id, day_id FROM added_up").fetchall()
        _tell_sums(connection, Marks(*marks))
        _tell_cells(connection, Marks(*marks))
    connection.execute("DROP TABLE changed")
    return differs


def _find_changes(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    named = ", ".join(COLUMNS)
    connection.register("staged", rows)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE anew AS SELECT {named} FROM staged")
    connection.unregister("staged")
    ((first, last),) = connection.execute("SELECT min(interval_id), max(interval_id) FROM anew").fetchall()
    # The numbers' range keeps the look at the ledger short.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE was AS SELECT {named} FROM ledger
        SEMI JOIN (SELECT DISTINCT interval_id FROM anew) USING (interval_id)
        WHERE interval_id BETWEEN {first or 0} AND {last or 0}
        """
    )
    nothing = ", ".join(f"0 AS {name}" for name in _AMOUNTS)
    connection.execute(
        f"""
        INSERT INTO anew SELECT {", ".join(_KEY)}, end_unix_us, duration_us, {nothing}
        FROM was ANTI JOIN anew USING ({", ".join(_KEY)})
        """
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE changed AS
        SELECT 1 AS sign, * FROM (FROM anew EXCEPT FROM was)
        UNION ALL SELECT -1, * FROM (FROM was EXCEPT FROM anew)
        """
    )
    connection.execute("DROP TABLE anew; DROP TABLE was")


def _check_totals(connection: duckdb.DuckDBPyConnection) -> None:
    # What of a class was caused and what is floor is told apart anew.
    off = " OR ".join(
        f"sum(sign * ({active}::HUGEINT + {idle})) <> 0"
        for active, idle in zip(ENERGIES[: len(CLASSES)], ENERGIES[len(CLASSES) :], strict=True)
    )
    ((count, first),) = connection.execute(
        f"""
        SELECT count(*), min(interval_id) FROM (
            SELECT interval_id FROM changed GROUP BY interval_id HAVING {off})
        """
    ).fetchall()
    if count:
        raise StoreError(
            f"store: books of {count} Reports would not balance, the first is {first}; nothing was changed"
        )


def _replace(connection: duckdb.DuckDBPyConnection) -> None:
    same = " AND ".join(f"{{table}}.{name} = changed.{name}" for name in _KEY)
    ((first, last),) = connection.execute("SELECT min(interval_id), max(interval_id) FROM changed").fetchall()
    named = ", ".join(COLUMNS)
    for table in ("ledger", "long_ledger"):
        connection.execute(
            f"DELETE FROM {table} USING changed WHERE sign = -1 AND {same.format(table=table)} "
            f"AND {table}.interval_id BETWEEN {first} AND {last}"
        )
    connection.execute(
        f"INSERT INTO ledger ({named}) SELECT {named} FROM changed WHERE sign = 1 ORDER BY interval_id"
    )
    connection.execute(
        f"""
        INSERT INTO long_ledger
        SELECT {", ".join(_KEY)}, end_unix_us, duration_us, {ENERGY_UJ} FROM changed
        WHERE sign = 1 AND duration_us > {LONG_US}
        """
    )


@dataclass(frozen=True, slots=True)
class _RollUp:
    """A table of sums: by what, how wide its buckets are, and from which to which interval it holds all.

    Where it has from_id, what is below taken is in a wider table already.
    """

    table: str
    keys: str
    width_us: int
    below: int
    taken: int | None = None
    since: int = 0


def _tell_sums(connection: duckdb.DuckDBPyConnection, marks: Marks) -> None:
    of_fleet, of_nodes = "account_id", "node_id, account_id"
    for one in (
        _RollUp("totals", of_nodes, 0, marks.total_id),
        _RollUp("fleet_minutes", of_fleet, MINUTE_US, marks.minute_id, marks.hour_id),
        _RollUp("fleet_hours", of_fleet, HOUR_US, marks.hour_id, marks.day_id),
        _RollUp("fleet_days", of_fleet, DAY_US, marks.day_id),
        _RollUp("node_hours", of_nodes, HOUR_US, marks.hour_id, marks.day_id),
        _RollUp("node_days", of_nodes, DAY_US, marks.day_id),
    ):
        bucket = f"{ceiling('end_unix_us', one.width_us)} AS bucket_us, " if one.width_us else ""
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE told AS SELECT {_since(one)}{bucket}{one.keys}, {_OF_CHANGES}
            FROM changed WHERE interval_id < {one.below} GROUP BY ALL
            """
        )
        _add_told(connection, one, "bucket_us" if one.width_us else "", OF_SUMS)


def _tell_cells(connection: duckdb.DuckDBPyConnection, marks: Marks) -> None:
    of_fleet, of_nodes = "account_id", "node_id, account_id"
    for one in (
        _RollUp("fleet_cells", of_fleet, CELL_US, marks.minute_id, marks.hour_id),
        _RollUp("fleet_cell_fresh", of_fleet, MINUTE_US, marks.minute_id, since=marks.hour_id),
        _RollUp("fleet_cell_minutes", of_fleet, MINUTE_US, marks.hour_id),
        _RollUp("fleet_cell_hours", of_fleet, HOUR_US, marks.hour_id),
        _RollUp("node_cells", of_nodes, NODE_CELL_US, marks.hour_id),
        _RollUp("node_cell_hours", of_nodes, HOUR_US, marks.hour_id),
    ):
        below = f"interval_id >= {one.since} AND interval_id < {one.below}"
        cells = spread(f"{_since(one)}{one.keys}", one.width_us, below, "changed", "sign")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE told AS SELECT {cells} HAVING energy_uj <> 0")
        if one.table == "fleet_cells":
            # Those that are forgotten stay so.
            connection.execute(
                "DELETE FROM told WHERE from_id < 0 "
                "AND cell_us < (SELECT narrow_unix_us FROM forgotten_cells)"
            )
        energy = "sum(energy_uj)::HUGEINT AS energy_uj"
        _add_told(connection, one, "cell_us", energy, "HAVING energy_uj <> 0")


def _since(one: _RollUp) -> str:
    """Return SQL for the mark that what is told of is given."""
    if one.taken is None:
        return ""
    return f"CASE WHEN interval_id >= {one.taken} THEN {one.taken} ELSE -1 END AS from_id, "


def _add_told(
    connection: duckdb.DuckDBPyConnection, one: _RollUp, bucket: str, summed: str, having: str = ""
) -> None:
    """Add what is told to the rows of the same bucket and keys, which become one."""
    table, keys = one.table, f"{bucket}, {one.keys}".removeprefix(", ")
    between = "true"
    if bucket:
        ((first, last),) = connection.execute(f"SELECT min({bucket}), max({bucket}) FROM told").fetchall()
        if first is None:
            connection.execute("DROP TABLE told")
            return
        between = f"{table}.{bucket} BETWEEN {first} AND {last}"
    since = taken = ""
    if one.taken is not None:
        since = f"CASE WHEN {table}.from_id >= {one.taken} THEN {one.taken} ELSE -1 END"
        taken, keys = f" REPLACE ({since} AS from_id)", f"from_id, {keys}"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE folded AS SELECT {keys}, {summed} FROM (
            FROM (SELECT *{taken} FROM {table} WHERE {between}) SEMI JOIN told USING ({keys})
            UNION ALL BY NAME FROM told) GROUP BY {keys} {having}
        """
    )
    same = " AND ".join(
        f"{since if name == 'from_id' else f'{table}.{name}'} = told.{name}" for name in keys.split(", ")
    )
    connection.execute(f"DELETE FROM {table} USING told WHERE {between} AND {same}")
    connection.execute(f"INSERT INTO {table} BY NAME FROM folded ORDER BY ALL")
    connection.execute("DROP TABLE folded; DROP TABLE told")
