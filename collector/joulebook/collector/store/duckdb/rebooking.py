"""Book an hour's Reports once more, when it is over, with all that they tell together.

Hours are booked anew node by node, from all of a node's Reports that ended in the hour: what comes for it
later has it booked again. Each step is one transaction, and done twice it changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress

import duckdb
import numpy as np
import pyarrow as pa

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.store.duckdb.booked import ledger_rows
from joulebook.collector.store.duckdb.changes import COLUMNS, replace_rows
from joulebook.collector.store.duckdb.damage import DamagedFileError
from joulebook.collector.store.duckdb.files import HOUR_US, REPORTS
from joulebook.collector.store.duckdb.rows import EVER
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.duckdb.stored import StoredReport, in_order, reports_of_hour
from joulebook.collector.store.presence import is_running, present

_log = logging.getLogger(__name__)

# As many Reports are booked in a step, or those of one node where they are more.
_AT_ONCE = 2_000


class _DryError(Exception):
    """Takes back what was only tried."""


class Rebooking:
    """Books what is due. policy: of hours that are booked anew for the first time."""

    def __init__(
        self,
        store: DuckDBStore,
        policy: Policy,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store, self._policy, self._clock_us = store, policy, clock_us
        # What was said of damaged files, once each.
        self._said: set[str] = set()

    def steps(self, before_hour: int) -> Iterator[str]:
        """Book what is due of hours before one, the oldest first; say after each step what was done.

        Hours of which a file is damaged wait until it is there again; others do not wait for them.
        """
        damaged: list[DamagedFileError] = []
        for hour, nodes in self._due(before_hour, damaged):
            try:
                for _ in self.book(hour, nodes, self._policy_of(hour)):
                    yield "booked anew"
            except DamagedFileError as error:
                damaged.append(error)
        if not damaged:
            yield from self._mark_blocks()
        for message in {str(error) for error in damaged} - self._said:
            _log.error("hours are not settled: %s", message)
        self._said = {str(error) for error in damaged}

    def book(
        self, hour: int, nodes: Mapping[int, int], policy: Policy, *, dry: bool = False
    ) -> Iterator[dict[str, int]]:
        """Book an hour of some nodes, of which there are so many Reports each.

        Gives after each step by how much each account's energy changed, in µJ. dry: nothing is changed.
        """
        together: list[int] = []
        count = 0
        for node, reports in sorted(nodes.items()):
            if together and count + reports > _AT_ONCE:
                yield self._book(hour, together, policy, dry=dry)
                together, count = [], 0
            together.append(node)
            count += reports
        if together:
            yield self._book(hour, together, policy, dry=dry)

    def _policy_of(self, hour: int) -> Policy:
        found = self._store._rows("SELECT policy FROM rebooked_hours WHERE hour = $1", [hour])
        return Policy(found[0][0]) if found else self._policy

    def _due(self, before_hour: int, damaged: list[DamagedFileError]) -> Iterator[tuple[int, dict[int, int]]]:
        """Give the hours, and how many Reports of which nodes, that came since they were booked anew.

        None of hours whose rows are forgotten: what comes late for them stays as it was booked.
        """
        after_us = self._store.books_kept().rows_us
        due: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for hour, node, count in self._store._rows(
            f"""
            SELECT (end_unix_us - 1) // {HOUR_US} AS hour, node_id, count(*) FROM intervals
            ANTI JOIN rebooked_alone USING (interval_id)
            WHERE NOT is_gap AND end_unix_us > $1 AND end_unix_us <= $2 GROUP BY ALL
            """,
            [after_us, before_hour * HOUR_US],
        ):
            due[hour][node] += count
        for block, hour in self._store._rows(
            "SELECT block_id, hour FROM blocks WHERE has_raw AND NOT rebooked AND hour >= $1",
            [after_us // HOUR_US],
        ):
            try:
                found = self._store._rows(
                    f"""
                    SELECT node_id, count(*) FROM {self._store._parquet(REPORTS, [(block, hour)])}
                    ANTI JOIN (FROM rebooked_nodes WHERE block_id = $1) USING (node_id) GROUP BY ALL
                    """,
                    [block],
                )
            except DamagedFileError as error:
                damaged.append(error)
                continue
            for node, count in found:
                due[hour][node] += count
        yield from sorted(due.items())

    def book_again(self, hour: int, nodes: Sequence[int]) -> None:
        """Book an hour of some nodes in which there are other Reports than when it was booked anew.

        No revision is raised: it is as if the others had never come, or always been there.
        """
        if nodes:
            self._book(hour, nodes, self._policy_of(hour), superseding=False)

    def _book(
        self, hour: int, nodes: Sequence[int], policy: Policy, *, superseding: bool = True, dry: bool = False
    ) -> dict[str, int]:
        by_node: dict[int, list[StoredReport]] = defaultdict(list)
        for one in reports_of_hour(self._store, hour, nodes):
            by_node[one.node_id].append(one)
        booked = []
        for own in by_node.values():
            # Of what is not whole `store check --replay` tells.
            whole = in_order(one for one in own if one.readings is not None)
            if whole:
                readings = [one.readings for one in whole if one.readings is not None]
                booked.append((whole, settled_books(readings, [one.start for one in whole], policy)))
        changed: dict[str, int] = {}
        with suppress(_DryError), self._store.writing() as connection:
            if booked:
                rows = pa.concat_tables([self._rows_of(*one) for one in booked])
                self._store._ids.insert(connection)
                differs = replace_rows(connection, rows)
                names = dict(connection.execute("SELECT account_id, account FROM accounts").fetchall())
                changed = {names[account]: uj for account, uj in differs.items() if uj}
                if superseding:
                    self._supersede(connection, hour, changed)
            numbers = [one.interval_id for own in by_node.values() for one in own]
            self._mark(connection, hour, nodes, numbers, policy)
            if dry:
                raise _DryError
        return changed

    def _rows_of(self, reports: Sequence[StoredReport], books: Books) -> pa.Table:
        """Return the rows of books of a node's Reports."""
        interval = np.array([one.interval_id for one in reports], dtype=np.int64)
        end = np.array([one.end_unix_us for one in reports], dtype=np.int64)
        duration = np.array([r.interval_us.sum() for one in reports if (r := one.readings)], dtype=np.int64)
        node = np.full(len(reports), reports[0].node_id, dtype=np.int64)
        columns = ledger_rows(books, self._store._ids, interval, node, end, duration)
        return pa.table({name: columns[name] for name in COLUMNS})

    def _supersede(self, connection: duckdb.DuckDBPyConnection, hour: int, changed: Collection[str]) -> None:
        """Raise the revision of jobs that had ended and whose energy is another now; keep what it was."""
        jobs = {account.removeprefix("job:") for account in changed if account.startswith("job:")}
        if not jobs:
            return
        places = self._store.places((), jobs, jobs)
        there = present(places.nodes)
        final = jobs.difference(row.job for row in places.jobs if is_running(row, there))
        revisions = self._store.revisions(final)
        was: dict[str, list[int]] = {job: [0, 0, 0] for job in final}
        # As it was before this transaction.
        for row in self._store.totals([f"job:{job}" for job in final], EVER):
            own = was[row.account.removeprefix("job:")]
            own[0] += sum(row.active_uj) + sum(row.idle_uj)
            own[1] += row.systematic_uj
            own[2] += row.variance_uj2
        for job, figures in sorted(was.items()):
            number = revisions[job].number if job in revisions else 1
            account = self._store._ids.account(f"job:{job}")
            values = [account, hour, number, *figures, self._clock_us()]
            connection.execute("INSERT INTO superseded VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _mark(
        self,
        connection: duckdb.DuckDBPyConnection,
        hour: int,
        nodes: Sequence[int],
        numbers: Sequence[int],
        policy: Policy,
    ) -> None:
        """Mark these Reports, all that some nodes had of an hour when they were read, as booked anew."""
        connection.execute("DELETE FROM rebooked_hours WHERE hour = ?", [hour])
        connection.execute("INSERT INTO rebooked_hours VALUES (?, ?)", [hour, policy.value])
        connection.execute(
            """
            INSERT INTO rebooked_alone SELECT interval_id FROM intervals
            SEMI JOIN (SELECT unnest($1::BIGINT[]) AS interval_id) USING (interval_id)
            ANTI JOIN rebooked_alone USING (interval_id)
            """,
            [numbers],
        )
        connection.execute(
            """
            INSERT INTO rebooked_nodes SELECT block_id, node_id FROM (
                SELECT block_id, unnest($2::INTEGER[]) AS node_id FROM blocks
                WHERE hour = $1 AND has_raw AND NOT rebooked)
            ANTI JOIN rebooked_nodes USING (block_id, node_id)
            """,
            [hour, list(nodes)],
        )

    def _mark_blocks(self) -> Iterator[str]:
        """Mark blocks of which all nodes are booked anew, and forget which nodes that were."""
        # What came too late to be booked anew stays as it was booked.
        too_late = (
            "SELECT interval_id FROM intervals ANTI JOIN rebooked_alone USING (interval_id) "
            "WHERE NOT is_gap AND end_unix_us <= (SELECT rows_unix_us FROM forgotten_books)"
        )
        blocks = "SELECT block_id FROM blocks WHERE has_raw AND NOT rebooked"
        if not self._store._rows(f"SELECT 1 WHERE EXISTS ({too_late}) OR EXISTS ({blocks})"):
            return
        with self._store.writing() as connection:
            connection.execute("UPDATE blocks SET rebooked = true WHERE has_raw AND NOT rebooked")
            connection.execute("DELETE FROM rebooked_nodes")
            # What a block has is no longer marked alone.
            connection.execute(
                "DELETE FROM rebooked_alone WHERE interval_id NOT IN (SELECT interval_id FROM intervals)"
            )
            connection.execute(f"INSERT INTO rebooked_alone {too_late}")
        yield "marked blocks"
