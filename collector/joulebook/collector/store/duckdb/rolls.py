"""Adds the books up, so that questions need not: totals of accounts, minutes, hours, and cells of time.

Every roll-up takes the rows that were stored since its mark, whatever time they are of, and moves the mark:
late rows become further rows of old buckets, and nothing has to be found again. What is not rolled up yet is
read from the rows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from joulebook.collector.store.duckdb.ledger_sums import (
    ENERGY_UJ,
    NAMES,
    OF_ROWS,
    OF_SUMS,
    SUMS,
    WATCHED,
    WATCHED_OF_ROWS,
    ceiling,
    floor,
)

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
CELL_US, NODE_CELL_US = 5_000_000, 600_000_000
# What is longer is kept apart: spread over cells it would be as many rows.
LONG_US = 600_000_000
# How far most nodes must be past a minute or an hour before it is rolled up: few rows come after that, and
# each is a row more.
_SETTLED_US = 15_000_000
# Totals change in place. So that this takes no more than a hundredth of the time, the more change, the rarer.
_TOTALS_EVERY_US, _TOTALS_EVERY_US_A_ROW = 15_000_000, 500


class Rolls:
    """Rolls up within the transactions of the one writer."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.forget()
        self._read_marks()

    def _read_marks(self) -> None:
        row = self._connection.execute("SELECT total_id, minute_id, hour_id, day_id FROM added_up").fetchone()
        assert row is not None
        self._total_id, self._minute_id, self._hour_id, self._day_id = row
        self._known = True

    def forget(self) -> None:
        """Forget how far all is rolled up; what was done since is not durable, or others did more.

        Nothing is read before the next transaction: a connection on which one failed may fail again.
        """
        self._known = False
        # Where most nodes' clocks stood when each was rolled up last; unknown, so all is due.
        self._totalled_us, self._minute, self._hour, self._day = 0, 0, 0, 0
        self._totals_every_us = _TOTALS_EVERY_US

    def roll(self, ends_unix_us: Sequence[int], next_id: int) -> None:
        """Roll up what is due once Reports with these ends are stored; next_id is the first that is not."""
        if not ends_unix_us:
            return
        if not self._known:
            self._read_marks()
        now_us = sorted(ends_unix_us)[len(ends_unix_us) // 2]
        settled_us = now_us - _SETTLED_US
        minute, hour = settled_us // MINUTE_US, settled_us // HOUR_US
        if now_us >= self._totalled_us + self._totals_every_us:
            self._roll_totals(next_id)
            self._totalled_us = now_us
        if hour > self._hour:
            self._roll_minutes(next_id)
            self._roll_hours()
            if (day := settled_us // DAY_US) > self._day:
                self._roll_days()
                self._day = day
            self._minute, self._hour = minute, hour
        elif minute > self._minute:
            self._roll_minutes(next_id)
            self._minute = minute
        else:
            return
        self._keep_marks()

    def roll_everything(self, next_id: int) -> None:
        """Roll up all there is, whether due or not."""
        self._read_marks()
        self._roll_totals(next_id)
        self._roll_minutes(next_id)
        self._roll_hours()
        self._roll_days()
        self._keep_marks()

    def _keep_marks(self) -> None:
        self._connection.execute(
            "UPDATE added_up SET total_id = ?, minute_id = ?, hour_id = ?, day_id = ?",
            [self._total_id, self._minute_id, self._hour_id, self._day_id],
        )

    def _roll_totals(self, next_id: int) -> None:
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE received AS SELECT account_id, node_id, {OF_ROWS} FROM ledger
            WHERE interval_id >= {self._total_id} AND interval_id < {next_id} GROUP BY ALL
            """
        )
        added = ", ".join(f"{name} = totals.{name} + received.{name}" for name in SUMS)
        ((changed,),) = self._connection.execute(
            f"""
            UPDATE totals SET {added}, first_unix_us = least(totals.first_unix_us, received.first_unix_us),
                last_unix_us = greatest(totals.last_unix_us, received.last_unix_us) FROM received
            WHERE totals.account_id = received.account_id AND totals.node_id = received.node_id
            """
        ).fetchall()
        self._connection.execute(
            f"INSERT INTO totals BY NAME SELECT account_id, node_id, {NAMES} FROM received "
            "ANTI JOIN totals USING (account_id, node_id)"
        )
        self._connection.execute("DROP TABLE received")
        self._totals_every_us = max(_TOTALS_EVERY_US, changed * _TOTALS_EVERY_US_A_ROW)
        self._total_id = next_id
        self._keep_marks()

    def _roll_minutes(self, next_id: int) -> None:
        mark = self._minute_id
        new = f"interval_id >= {mark} AND interval_id < {next_id}"
        minute = ceiling("end_unix_us", MINUTE_US)
        self._connection.execute(
            f"""
            INSERT INTO fleet_minutes (from_id, bucket_us, account_id, {NAMES})
            SELECT {mark}, {minute} AS bucket_us, account_id, {OF_ROWS} FROM ledger WHERE {new} GROUP BY ALL
            """
        )
        self._connection.execute(
            f"""
            INSERT INTO watched_minutes (from_id, bucket_us, {", ".join(WATCHED)})
            SELECT {mark}, {minute} AS bucket_us, {WATCHED_OF_ROWS} FROM watched_reports
            WHERE {new} GROUP BY ALL
            """
        )
        self._connection.execute(
            f"INSERT INTO fleet_cells SELECT {mark}, {spread('account_id', CELL_US, new)}"
        )
        self._connection.execute(
            f"""
            INSERT INTO fleet_cell_fresh SELECT {floor("cell_us", MINUTE_US)} AS minute_us, account_id,
                sum(energy_uj)::HUGEINT FROM fleet_cells WHERE from_id = {mark} GROUP BY ALL
            """
        )
        keep_newest(self._connection, new)
        self._minute_id = next_id

    def _roll_hours(self) -> None:
        """Roll up what is rolled up by minute."""
        new = f"interval_id >= {self._hour_id} AND interval_id < {self._minute_id}"
        newer = f"from_id >= {self._hour_id}"
        for statement in (
            f"""
            INSERT INTO node_hours (from_id, bucket_us, node_id, account_id, {NAMES})
            SELECT {self._hour_id}, {ceiling("end_unix_us", HOUR_US)} AS bucket_us, node_id, account_id,
                {OF_ROWS}
            FROM ledger WHERE {new} GROUP BY ALL
            """,
            f"""
            INSERT INTO fleet_hours (from_id, bucket_us, account_id, {NAMES})
            SELECT {self._hour_id}, {ceiling("bucket_us", HOUR_US)} AS hour_us, account_id, {OF_SUMS}
            FROM fleet_minutes WHERE {newer} GROUP BY ALL
            """,
            f"""
            INSERT INTO watched_hours (bucket_us, node_id, {", ".join(WATCHED)})
            SELECT {ceiling("end_unix_us", HOUR_US)} AS bucket_us, node_id, {WATCHED_OF_ROWS}
            FROM watched_reports WHERE {new} GROUP BY ALL
            """,
            f"""
            CREATE OR REPLACE TEMP TABLE spread AS
            SELECT {spread("node_id, account_id", NODE_CELL_US, new)}
            """,
            "INSERT INTO node_cells SELECT cell_us, node_id, account_id, energy_uj FROM spread",
            f"""
            INSERT INTO node_cell_hours SELECT {floor("cell_us", HOUR_US)} AS hour_us, node_id, account_id,
                sum(energy_uj)::HUGEINT FROM spread GROUP BY ALL
            """,
            "DROP TABLE spread",
            *(
                f"""
                INSERT INTO {table} SELECT {floor("cell_us", width_us)} AS wide_us, account_id,
                    sum(energy_uj)::HUGEINT FROM fleet_cell_fresh GROUP BY ALL
                """
                for table, width_us in (("fleet_cell_minutes", MINUTE_US), ("fleet_cell_hours", HOUR_US))
            ),
            "DELETE FROM fleet_cell_fresh",
        ):
            self._connection.execute(statement)
        self._hour_id = self._minute_id

    def _roll_days(self) -> None:
        """Roll up what is rolled up by hour; a day's rows in order of their nodes, as they are asked for."""
        day = ceiling("bucket_us", DAY_US)
        for owner, keys in (("node", "node_id, account_id"), ("fleet", "account_id")):
            self._connection.execute(
                f"""
                INSERT INTO {owner}_days (bucket_us, {keys}, {NAMES})
                SELECT {day} AS day_us, {keys}, {OF_SUMS} FROM {owner}_hours
                WHERE from_id >= {self._day_id} GROUP BY ALL ORDER BY day_us, {keys}
                """
            )
        self._day_id = self._hour_id


def keep_newest(connection: duckdb.DuckDBPyConnection, which: str) -> None:
    """Keep each node's newest Report of those that there are and some more, in the caller's transaction."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE newer AS
        SELECT node_id, unnest(arg_max(
            struct_pack(layout_id, boot_id, end_unix_us, end_us), (end_unix_us, end_us)))
        FROM (SELECT node_id, layout_id, boot_id, end_unix_us, end_us FROM intervals
              WHERE NOT is_gap AND {which} UNION ALL FROM newest_reports) GROUP BY node_id
        """
    )
    connection.execute("DELETE FROM newest_reports")
    connection.execute(
        "INSERT INTO newest_reports SELECT node_id, layout_id, boot_id, end_unix_us, end_us FROM newer"
    )
    connection.execute("DROP TABLE newer")


def spread(keys: str, width_us: int, new: str, table: str = "ledger", sign: str = "1") -> str:
    """Return SQL for (cell_us, keys, energy_uj) of rows of the ledger: each spread evenly over its time.

    Up to a moment it is rounded down to whole µJ, so what lies between moments adds up to the whole. table
    has the rows, or rows like them, of which each counts as sign says.
    """
    return f"""
        cell_us, {keys}, sum({sign} * (
            energy_uj * (least(cell_us + {width_us}, end_unix_us) - began_us) // duration_us
            - energy_uj * (greatest(cell_us, began_us) - began_us) // duration_us))::HUGEINT AS energy_uj
        FROM (
            SELECT *, {ENERGY_UJ} AS energy_uj, end_unix_us - duration_us AS began_us,
                unnest(range({floor("(end_unix_us - duration_us)", width_us)}, end_unix_us, {width_us}))
                    AS cell_us
            FROM {table} WHERE {new} AND duration_us <= {LONG_US})
        WHERE energy_uj > 0 GROUP BY ALL"""
