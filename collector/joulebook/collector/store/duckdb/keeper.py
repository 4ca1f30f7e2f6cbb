"""The housekeeping of an embedded store, in small steps: roll up, move what is settled, forget what is old.

Every step leaves a store that answers the same. A file is written, synced, renamed and its directory synced
before one transaction vouches for it and removes the rows that it replaces: whoever dies in between leaves a
file that nobody vouches for, which the next one to open the store removes.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb import forgetting, rollup
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES, READINGS, REPORTS
from joulebook.collector.store.duckdb.marks import merged
from joulebook.collector.store.duckdb.packed import unpack
from joulebook.collector.store.duckdb.rebooking import Rebooking
from joulebook.collector.store.duckdb.rollup import Alike, Part
from joulebook.collector.store.duckdb.series import SeriesNumbers
from joulebook.collector.store.duckdb.settling import Settling
from joulebook.collector.store.duckdb.spans import FORGOTTEN
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore

Ints = npt.NDArray[np.int64]
_log = logging.getLogger(__name__)

DAY_US = 24 * HOUR_US
# As many Reports are rolled up in a step, and as many of a kind in one set of arrays.
_AT_ONCE, _BESIDE = 4_000, 500
# interval_id, node_id, layout_id, end_unix_us, is_gap, report
_Fresh = tuple[int, int, int, int, bool, bytes]


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
        counts = dict(
            self._store._rows(
                "SELECT part, count(*) FROM intervals JOIN rolled ON node_id % 16 = part "
                "WHERE intervals.interval_id > rolled.interval_id GROUP BY part"
            )
        )
        together: list[int] = []
        for part, count in sorted(counts.items()):
            if sum(counts[p] for p in together) + count > _AT_ONCE and together:
                yield from self._roll_up(together)
                together = []
            together.append(part)
        if together:
            yield from self._roll_up(together)

    def _roll_up(self, parts: list[int]) -> Iterator[str]:
        """Roll up some sixteenths of the nodes, as many Reports in a step."""
        while True:
            rows = self._store._rows(
                """
                SELECT i.interval_id, node_id, layout_id, end_unix_us, is_gap, report
                FROM intervals AS i JOIN rolled AS r ON node_id % 16 = part
                WHERE i.interval_id > r.interval_id AND list_contains($1, part)
                ORDER BY i.interval_id LIMIT $2
                """,
                [parts, _AT_ONCE],
            )
            if not rows:
                return
            self._add(parts, rows)
            yield "rolled up"
            if len(rows) < _AT_ONCE:
                return

    def _add(self, parts: list[int], rows: Sequence[_Fresh]) -> None:
        reports = [row for row in rows if not row[4]]
        gaps = [row[0] for row in rows if row[4]]
        try:
            with self._store.writing() as connection:
                node_of = {row[2]: row[1] for row in reports}
                self._series.learn(connection, node_of.items(), self._store._layout)
                minutes: list[Part] = []
                measured: list[tuple[int, ...]] = []
                for numbers, alike in self._alike(reports):
                    minutes.append(rollup.minutes_of(alike))
                    columns = (numbers, alike.node_id, alike.end_unix_us, alike.drawn_uj())
                    measured += zip(*(column.tolist() for column in columns), strict=True)
                for number, node_id, end_unix_us, pair in self._store.gap_edges(gaps):
                    gap = gap_between(*pair)
                    uj = int(gap.by_class_uj.sum()) if gap else 0
                    measured.append((number, node_id, end_unix_us, uj))
                insert(connection, "minutes", rollup.table_of(minutes))
                insert(connection, "measured", _measured(measured))
                connection.execute(
                    "UPDATE rolled SET interval_id = $1 WHERE list_contains($2, part)", [rows[-1][0], parts]
                )
        except BaseException:
            self._series.forget()
            raise
        self._series.trim()

    def _alike(self, reports: Iterable[_Fresh]) -> Iterator[tuple[Ints, Alike]]:
        """Give Reports of a kind together, and their numbers."""
        kinds: dict[int, list[_Fresh]] = defaultdict(list)
        for row in reports:
            kinds[id(self._store._layout(row[2]).kind)].append(row)
        for group in kinds.values():
            # A node's Reports of several layouts are in order of time too.
            group.sort(key=lambda row: (row[1], row[3]))
            for begin in range(0, len(group), _BESIDE):
                by_ticks: dict[int, list[tuple[_Fresh, Ints, Ints]]] = defaultdict(list)
                for row in group[begin : begin + _BESIDE]:
                    interval_us, values = unpack(row[5])
                    by_ticks[len(interval_us)].append((row, interval_us, values))
                yield from map(self._stacked, by_ticks.values())

    def _stacked(self, reports: list[tuple[_Fresh, Ints, Ints]]) -> tuple[Ints, Alike]:
        number, node_id, layout_id, end_unix_us = zip(*(row[:4] for row, _, _ in reports), strict=True)
        return np.array(number, dtype=np.int64), Alike(
            layout=self._store._layout(layout_id[0]),
            node_id=np.array(node_id, dtype=np.int64),
            end_unix_us=np.array(end_unix_us, dtype=np.int64),
            series=np.stack([self._series.of(one) for one in layout_id]),
            interval_us=np.stack([interval_us for _, interval_us, _ in reports]),
            values=np.stack([values for _, _, values in reports]),
        )

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


def _measured(rows: list[tuple[int, ...]]) -> pa.Table:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return pa.table(dict(zip(("interval_id", "node_id", "end_unix_us", "measured_uj"), columns, strict=True)))
