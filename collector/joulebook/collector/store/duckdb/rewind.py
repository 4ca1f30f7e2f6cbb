"""Take an embedded store back to a time: as if the Reports that ended later had never come."""

from __future__ import annotations

import duckdb

from joulebook.collector.check.replay import neighbours
from joulebook.collector.ingest.sequence import PlacedGap
from joulebook.collector.ledger.book import nothing
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb import stored
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.rolls import forget_sums
from joulebook.collector.store.duckdb.rows import EVER
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.duckdb.unsettling import unsettle
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
        unsettle(store, at_unix_us // HOUR_US)
        dropped = _drop(store, at_unix_us)
        store._rolls.forget()
        if dropped:
            _join(store)
        return dropped
    except duckdb.Error as error:
        raise StoreError(f"store {path}: cannot be taken back ({error})") from error
    finally:
        store.close()


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
    forget_sums(connection)
    connection.execute("DELETE FROM job_ends WHERE end_unix_us > ?", [at_unix_us])
    _drop_jobs(store)
    ((count,),) = connection.execute("SELECT count(*) FROM late").fetchall()
    connection.execute("DROP TABLE late; DROP TABLE gone")
    connection.execute("COMMIT")
    return int(count)


def _drop_jobs(store: DuckDBStore) -> None:
    """Drop the jobs that no Report's layout names any more."""
    connection = store._connection
    named = set()
    marks = store._marks(EVER, "layout_id")
    for node_id, serialized in connection.execute(
        f"SELECT node_id, serialized FROM layouts SEMI JOIN {marks} USING (layout_id)"
    ).fetchall():
        message = report_pb2.Layout.FromString(serialized)
        named |= {(node_id, job) for job in jobs_of(message)}
    for number, node_id, job in connection.execute("SELECT job_number, node_id, job FROM jobs").fetchall():
        if (node_id, job) not in named:
            connection.execute("DELETE FROM jobs WHERE job_number = ?", [number])


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
