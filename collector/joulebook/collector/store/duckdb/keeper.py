"""The housekeeping of an embedded store, in small steps: roll up, move what is settled, forget what is old.

Every step leaves a store that answers the same. A file is written, synced, renamed and its directory synced
before one transaction vouches for it and removes the rows that it replaces: whoever dies in between leaves a
file that nobody vouches for, which the next one to open the store removes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import forgetting
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES, READINGS, REPORTS
from joulebook.collector.store.duckdb.marks import merged
from joulebook.collector.store.duckdb.rebooking import Rebooking
from joulebook.collector.store.duckdb.rolling_up import RollingUp
from joulebook.collector.store.duckdb.series import SeriesNumbers
from joulebook.collector.store.duckdb.settling import Settling
from joulebook.collector.store.duckdb.spans import FORGOTTEN
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore

Ints = npt.NDArray[np.int64]
_log = logging.getLogger(__name__)

DAY_US = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept, in days; 0: for ever."""

    raw_days: float = 0
    minutes_days: float = 0
    hours_days: float = 0
    ledger_days: float = 0


class Keeper:
    """Keeps house in one store. steps() is to be run by one thread at a time; commits go on beside it.

    policy: by which hours are booked anew when they are moved; None: they are not.
    """

    def __init__(
        self,
        store: DuckDBStore,
        retention: Retention | None = None,
        *,
        policy: Policy | None = None,
        settle_us: int = 2 * HOUR_US,
    ) -> None:
        self._store = store
        self._retention = retention or Retention()
        self._settle_us = settle_us
        self._series = SeriesNumbers()
        self._rolling_up = RollingUp(store, self._series)
        self._rebooking = Rebooking(store, policy) if policy is not None else None

    def steps(self, now_us: int) -> Iterator[str]:
        """Do what is due by now_us of the wall clock; say after each step what was done."""
        yield from self.roll_up()
        for hour in self._settled(now_us):
            settling = Settling(self._store, hour, self._series)
            yield from settling.steps()
        if self._rebooking is not None and self._store.files is not None:
            yield from self._rebooking.steps((now_us - self._settle_us) // HOUR_US)
        yield from self._forget(now_us)
        yield from self._forget_books(now_us)

    def roll_up(self) -> Iterator[str]:
        """Add what came since the last time to minutes and to what was measured."""
        yield from self._rolling_up.steps()

    def _settled(self, now_us: int) -> Iterator[int]:
        """Give the hours of which something may be moved, the oldest first."""
        if self._store.files is None:
            return
        before = (now_us - self._settle_us) // HOUR_US
        yield from (
            hour
            for (hour,) in self._store._rows(
                f"""
                SELECT DISTINCT hour FROM (
                    SELECT (end_unix_us - 1) // {HOUR_US} AS hour FROM intervals
                    WHERE NOT is_gap AND interval_id NOT IN (
                        SELECT arg_max(interval_id, end_us) FROM intervals WHERE NOT is_gap GROUP BY boot_id)
                    UNION ALL SELECT minute // 60 FROM minutes)
                WHERE hour < $1 ORDER BY hour
                """,
                [before],
            )
        )

    def _forget(self, now_us: int) -> Iterator[str]:
        """Forget what is older than it is to be kept; disk is given back at once."""
        kept = self._retention
        ((raw_us, minutes_us, hours_us),) = self._store._rows("SELECT * FROM forgotten")
        if (until := _until(kept.raw_days, now_us)) > raw_us:
            yield from self._forget_raw(until)
        if (until := _until(kept.minutes_days, now_us)) > minutes_us:
            gone = self._store._rows(
                "SELECT block_id, hour FROM blocks WHERE has_minutes AND hour < $1", [until // HOUR_US]
            )
            with self._store.writing() as connection:
                connection.execute("UPDATE forgotten SET minutes_unix_us = $1", [until])
                connection.execute(
                    "UPDATE blocks SET has_minutes = false WHERE hour < $1", [until // HOUR_US]
                )
            yield "forgot minutes"
            self._remove(gone, (MINUTES,))
        if (until := _until(kept.hours_days, now_us)) > hours_us:
            with self._store.writing() as connection:
                connection.execute("UPDATE forgotten SET hours_unix_us = $1", [until])
                connection.execute("DELETE FROM hours WHERE hour < $1", [until // HOUR_US])
            yield "forgot hours"
            self._store.checkpoint()

    def _forget_books(self, now_us: int) -> Iterator[str]:
        """Forget what of the books wider buckets have."""
        yield from forgetting.forget_narrow(self._store, now_us)
        yield from forgetting.forget_minutes(self._store, _until(self._retention.minutes_days, now_us))
        yield from forgetting.forget_rows(self._store, _until(self._retention.ledger_days, now_us))

    def _forget_raw(self, until: int) -> Iterator[str]:
        gone = self._store._rows(
            "SELECT block_id, hour FROM blocks WHERE has_raw AND hour < $1", [until // HOUR_US]
        )
        with self._store.writing() as connection:
            connection.execute("UPDATE forgotten SET raw_unix_us = $1", [until])
            # The newest Report of a boot stays where it is for what may follow on it. Of a boot that another
            # one has followed, nothing more is expected.
            connection.execute(
                """
                CREATE TEMP TABLE left_over AS
                SELECT interval_id, boot_id, start_us, end_us FROM intervals WHERE NOT is_gap
                    AND end_unix_us <= $1 AND boot_id NOT IN (
                        SELECT arg_max(boot_id, (end_unix_us, end_us)) FROM intervals WHERE NOT is_gap
                        GROUP BY node_id)
                """,
                [until],
            )
            connection.execute("UPDATE blocks SET has_raw = false WHERE hour < $1", [until // HOUR_US])
            connection.execute(
                """
                INSERT INTO runs SELECT $1, boot_id, start_us, end_us FROM left_over
                """,
                [FORGOTTEN],
            )
            connection.execute(
                "UPDATE runs SET block_id = $1 "
                "WHERE block_id IN (SELECT block_id FROM blocks WHERE NOT has_raw)",
                [FORGOTTEN],
            )
            connection.execute(
                "DELETE FROM intervals WHERE interval_id IN (SELECT interval_id FROM left_over)"
            )
            connection.execute("DROP TABLE left_over")
            table = connection.sql(
                "SELECT boot_id, start_us, end_us FROM runs WHERE block_id = $1", params=[FORGOTTEN]
            ).to_arrow_table()
            boot, start_us, end_us = merged(*(table[name].to_numpy() for name in table.column_names))
            connection.execute("DELETE FROM runs WHERE block_id = $1", [FORGOTTEN])
            insert(
                connection,
                "runs",
                pa.table(
                    {
                        "block_id": np.full(len(boot), FORGOTTEN),
                        "boot_id": boot,
                        "start_us": start_us,
                        "end_us": end_us,
                    }
                ),
            )
        self._store.forgotten_us = until
        yield "forgot readings"
        self._remove(gone, (READINGS, REPORTS))

    def _remove(self, blocks: list[tuple[int, int]], kinds: tuple[str, ...]) -> None:
        files = self._store.files
        if files is not None and blocks:
            files.remove(files.path(kind, block, hour) for block, hour in blocks for kind in kinds)


def _until(days: float, now_us: int) -> int:
    """Return up to where readings are to be forgotten, a whole hour; 0: nowhere."""
    return (now_us - round(days * DAY_US)) // HOUR_US * HOUR_US if days else 0
