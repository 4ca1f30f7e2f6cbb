"""Take an embedded store back to a time: as if the Reports that ended later had never come."""

from __future__ import annotations

from collections.abc import Set

import duckdb

from joulebook.collector.check.replay import neighbours
from joulebook.collector.ingest.sequence import PlacedGap
from joulebook.collector.ledger.book import nothing
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb import stored
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.rebooking import Rebooking
from joulebook.collector.store.duckdb.rolling_up import RollingUp
from joulebook.collector.store.duckdb.rows import EVER
from joulebook.collector.store.duckdb.series import SeriesNumbers
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.duckdb.unsettling import roll_up_anew, unsettle
from joulebook.collector.store.duckdb.unsumming import finish_forgetting, forget_sums
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.v1 import report_pb2
from joulebook.v1.naming import jobs_of


def rewind(path: str, at_unix_us: int) -> int:
    """Drop what was committed with Reports that ended after a time; return how many. Raises StoreError.

    What the sources of a node said last stays, since it is kept once; the next Report says it anew.
    """
    store = DuckDBStore(path)
    try:
        if at_unix_us < store.forgotten_us:
            raise StoreError(
                f"store {path}: raw readings are kept from {rfc3339(store.forgotten_us)} on, and books of "
                "a time before cannot be checked; name a later one"
            )
        hour = at_unix_us // HOUR_US
        rebooked = stored.rebooked_nodes(store, hour)
        rows_us = store.books_kept().rows_us
        if rows_us:
            # What is left of a row that is dropped must not be in cells of time that stay.
            if at_unix_us < rows_us + HOUR_US:
                raise StoreError(
                    f"store {path}: the ledger's rows are kept from {rfc3339(rows_us)} on, and books of a "
                    f"time before are known by hour alone; name {rfc3339(rows_us + HOUR_US)} or later"
                )
            finish_forgetting(store)
        rolling_up = RollingUp(store, SeriesNumbers())
        for _ in rolling_up.steps():
            pass
        unsettle(store, f"hour >= {hour}", minutes=True)
        if hours := _with_newest(store, at_unix_us):
            unsettle(store, f"hour IN ({', '.join(map(str, hours))})", minutes=False)
        rolling_up.take_out(
            f"end_unix_us > {at_unix_us} AND end_unix_us - (end_us - start_us) < {hour * HOUR_US}",
            f"minute < {hour * 60}",
        )
        dropped = _drop(store, at_unix_us)
        store._rolls.forget()
        Rebooking(store, Policy.RESERVED).book_again(hour, rebooked)
        if dropped:
            _join(store)
        roll_up_anew(store, rolling_up, hour)
        return dropped
    except duckdb.Error as error:
        raise StoreError(f"store {path}: cannot be taken back ({error})") from error
    finally:
        store.close()


def _with_newest(store: DuckDBStore, at_unix_us: int) -> list[int]:
    """Return the hours of blocks that have the newest Report which stays, of a boot or node that loses some.

    The newest of each is to be a row: by its boot's clock what follows is compared with it, and by the wall
    clock it is how the node was left.
    """
    kept = f"FILTER (end_unix_us <= {at_unix_us})"
    found = store._rows(
        f"""
        WITH mine AS (FROM intervals WHERE NOT is_gap)
        SELECT hour FROM (
            SELECT boot_id, coalesce(max(end_us) {kept}, -1) AS last_us FROM mine GROUP BY boot_id
            HAVING max(end_unix_us) > {at_unix_us})
        JOIN (SELECT boot_id, arg_max(hour, r.end_us) AS hour, max(r.end_us) AS end_us
              FROM runs AS r JOIN blocks USING (block_id) WHERE has_raw GROUP BY boot_id) USING (boot_id)
        WHERE end_us > last_us
        UNION SELECT hour FROM (
            SELECT node_id, coalesce(max(end_unix_us - 1) {kept}, -1) // {HOUR_US} AS last_hour FROM mine
            GROUP BY node_id HAVING max(end_unix_us) > {at_unix_us})
        JOIN (SELECT node_id, max(hour) AS hour FROM measured_blocks JOIN blocks USING (block_id)
              WHERE has_raw GROUP BY node_id) USING (node_id)
        WHERE hour > last_hour
        """
    )
    return [hour for (hour,) in found]


def _drop(store: DuckDBStore, at_unix_us: int) -> int:
    connection = store._connection
    connection.execute("BEGIN")
    connection.execute(
        """
        CREATE TEMP TABLE late AS SELECT interval_id, boot_id, start_us, end_us FROM intervals
            WHERE NOT is_gap AND end_unix_us > $1
        """,
        [at_unix_us],
    )
    # A gap is told by the Reports on both of its sides.
    connection.execute(
        """
        CREATE TEMP TABLE gone AS SELECT interval_id FROM late UNION SELECT g.interval_id
            FROM intervals AS g JOIN late AS d ON g.boot_id = d.boot_id
            WHERE is_gap AND (g.end_us = d.start_us OR g.start_us = d.end_us)
        """
    )
    for table in ("ledger", "gap_ledger", "long_ledger", "watched_reports", "revisions", "intervals"):
        connection.execute(f"DELETE FROM {table} WHERE interval_id IN (SELECT interval_id FROM gone)")
    connection.execute("DELETE FROM rebooked_alone WHERE interval_id IN (SELECT interval_id FROM gone)")
    # What was quoted of the hour that is cut is not what it says now, whichever revision it was.
    connection.execute("DELETE FROM superseded WHERE hour >= ?", [at_unix_us // HOUR_US])
    forget_sums(connection)
    connection.execute("DELETE FROM newest_reports WHERE end_unix_us > ?", [at_unix_us])
    connection.execute("DELETE FROM job_ends WHERE end_unix_us > ?", [at_unix_us])
    _drop_jobs(store)
    ((count,),) = connection.execute("SELECT count(*) FROM late").fetchall()
    connection.execute("DROP TABLE late; DROP TABLE gone")
    connection.execute("COMMIT")
    return int(count)


def _drop_jobs(store: DuckDBStore) -> None:
    """Drop the jobs that no Report's layout names any more, and that received nothing."""
    connection = store._connection
    named = set()
    marks = store._marks(EVER, "layout_id")
    for node_id, serialized in connection.execute(
        f"SELECT node_id, serialized FROM layouts SEMI JOIN {marks} USING (layout_id)"
    ).fetchall():
        message = report_pb2.Layout.FromString(serialized)
        named |= {(node_id, job) for job in jobs_of(message)}
    # Of Reports that are forgotten the layouts are too many to tell; what their jobs received is known.
    named |= {
        (node_id, account.removeprefix("job:"))
        for node_id, account in connection.execute(
            "SELECT node_id, account FROM (SELECT node_id, account_id FROM totals UNION "
            "SELECT node_id, account_id FROM ledger) JOIN accounts USING (account_id) "
            "WHERE starts_with(account, 'job:')"
        ).fetchall()
    }
    gone = [
        row
        for row in connection.execute("SELECT job_number, node_id, job FROM jobs").fetchall()
        if row[1:] not in named
    ]
    for number, _, _ in gone:
        connection.execute("DELETE FROM jobs WHERE job_number = ?", [number])
    _drop_layouts(store, {(node_id, job) for _, node_id, job in gone})


def _drop_layouts(store: DuckDBStore, jobs: Set[tuple[int, str]]) -> None:
    """Drop the layouts that name jobs which are dropped: such a job is found when its layout comes anew."""
    if not jobs:
        return
    for number, node_id, serialized in store._connection.execute(
        f"SELECT layout_id, node_id, serialized FROM layouts ANTI JOIN {store._marks(EVER, 'layout_id')} "
        "USING (layout_id) ANTI JOIN newest_reports USING (layout_id) WHERE list_contains($1, node_id)",
        [sorted({node_id for node_id, _ in jobs})],
    ).fetchall():
        if any((node_id, job) in jobs for job in jobs_of(report_pb2.Layout.FromString(serialized))):
            store._connection.execute("DELETE FROM layouts WHERE layout_id = ?", [number])


def _join(store: DuckDBStore) -> None:
    """Book the gaps between Reports between which others were: a node's wall clock may have been set back."""
    gaps = []
    for node, boot, start_us, end_us in stored.boots(store):
        known = {gap.start_us for gap in stored.gaps(store, node, boot)}
        for before, after in neighbours(store, node, boot, start_us, end_us):
            gap = gap_between(before.end, after.start)
            if gap is not None and gap.start_us not in known:
                gaps.append(PlacedGap(node, boot, gap, after.start_unix_us))
    if gaps:
        store.commit(Commit((), nothing(), gaps))
