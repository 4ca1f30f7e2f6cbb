"""The embedded store: one DuckDB file, one writer, any number of readers beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.duckdb.booked import ledger_rows
from joulebook.collector.store.duckdb.checkpoints import Checkpoints
from joulebook.collector.store.duckdb.copy import copy_store
from joulebook.collector.store.duckdb.file import connect
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.ids import Ids
from joulebook.collector.store.duckdb.migrations import migration
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rolls import LONG_US, Rolls
from joulebook.collector.store.duckdb.scheduled import Scheduling
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.protocol import BeyondRetentionError, Commit, StoreError
from joulebook.collector.store.rows import Places
from joulebook.v1 import report_pb2
from joulebook.v1.naming import job_of

Ints = npt.NDArray[np.int64]


class DuckDBStore(Scheduling, Reads):
    """A Store in a file, or in memory for a path of ':memory:'.

    files are those of who has the file open already, where it is opened again: some may be being written.
    """

    shared = False

    def __init__(self, path: Path | str, files: Files | None = None) -> None:
        connection = connect(path)
        try:
            migration.prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        super().__init__(connection, files or (None if str(path) == ":memory:" else Files(path)))
        if self.files is not None and files is None:
            self.files.clean(self.files.vouched_for(connection))
        ((self.forgotten_us,),) = self._rows("SELECT raw_unix_us FROM forgotten")
        self._path = path
        self._ids = Ids(connection)
        self._rolls = Rolls(connection)
        self.checkpoints = Checkpoints(path)
        self._next_interval = self._scalar(
            "SELECT max(interval_id) + 1 FROM (SELECT max(interval_id) AS interval_id FROM intervals "
            "UNION ALL SELECT max(interval_id) FROM rolled "
            "UNION ALL SELECT max(last_interval_id) FROM blocks)"
        )
        self._writing = threading.Lock()

    def copy_to(self, directory: Path) -> None:
        """Copy one state of the store into a directory, while it is written to. Raises StoreError."""
        try:
            # What is copied a moment later must still be there.
            with self._reading():
                copy_store(self._connection, self._path, directory)
        except (duckdb.Error, OSError) as error:
            raise StoreError(f"store {self._path}: not copied to {directory} ({error})") from error

    def _scalar(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN")
            yield
            self._connection.execute("COMMIT")
        except Exception as error:
            self._ids.drop()
            # A failed COMMIT has rolled back by itself; there is nothing left to roll back then, nor where
            # the database itself has failed.
            with suppress(duckdb.Error):
                self._connection.execute("ROLLBACK")
            self._rolls.forget()
            if isinstance(error, (duckdb.Error, OSError)):
                raise StoreError(f"store: not written ({error})") from error
            raise
        self._ids.keep()
        self.checkpoints.make_if_due(self._connection)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a transaction to who keeps house; commits wait for it. Raises StoreError with nothing done."""
        with self._writing, self._transaction():
            yield self._connection

    def checkpoint(self) -> None:
        """Give back what deleted rows took, where nothing else is going on."""
        with self._writing:
            self.checkpoints.make(self._connection)

    def close(self) -> None:
        """Let go of the store, with its log written into its file where nobody writes."""
        if self._writing.acquire(blocking=False):
            try:
                if self.checkpoints.logged_bytes():
                    with suppress(duckdb.Error), self._cursor() as cursor:
                        self.checkpoints.make(cursor)
            finally:
                self._writing.release()
        super().close()

    def commit(self, commit: Commit) -> None:
        """Make it all durable in one transaction. Raises StoreError with nothing done.

        Raises BeyondRetentionError with nothing done where Reports are older than what is kept.
        """
        self._check_age(commit.reports)
        with self._writing:
            first = self._next_interval
            with self._transaction():
                self._remove_filled(commit)
                new_layouts = [d for d in commit.reports if not self._ids.has_layout(d.readings.layout)]
                intervals = first + np.arange(len(commit.reports), dtype=np.int64)
                reports = self._report_intervals(commit, intervals)
                insert(self._connection, "intervals", pa.table(reports))
                insert(self._connection, "watched_reports", pa.table(_watched(reports, commit.books)))
                ledger = self._ledger(commit, intervals)
                insert(self._connection, "ledger", pa.table(ledger))
                insert(self._connection, "long_ledger", pa.table(_long(ledger)))
                self._insert_revisions(commit, intervals)
                self._insert_gaps(commit, first + len(commit.reports))
                self._stage_jobs(new_layouts)
                self._insert_ends(commit.reports)
                self._ids.insert(self._connection)
                following = first + len(commit.reports) + len(commit.gaps)
                self._rolls.roll([d.end_us + d.realtime_offset_us for d in commit.reports], following)
            self._next_interval = following
            for layout in {d.readings.layout.hash: d.readings.layout for d in new_layouts}.values():
                # Whoever reads what was just stored need not make it anew. Not before it is durable: a number
                # of a commit that failed is given to another layout.
                self._layouts[self._ids.layout(layout)] = layout

    def _check_age(self, reports: Sequence[Decoded]) -> None:
        old = [i for i, d in enumerate(reports) if d.end_us + d.realtime_offset_us <= self.forgotten_us]
        if old:
            day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.forgotten_us // 1_000_000))
            raise BeyondRetentionError(f"ends before {day}: the store keeps no readings of that time", old)

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        # This is the only writer: a boot that it does not know has nothing stored. A cluster that starts up
        # asks this once a node.
        return super().spans(node, boot, start_us, end_us) if self._ids.knows_boot(node, boot) else []

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
        try:
            return super().places(nodes, jobs, everywhere)
        except duckdb.Error as error:
            raise StoreError(f"store: not written, for its jobs cannot be read ({error})") from error

    def _report_intervals(self, commit: Commit, intervals: Ints) -> dict[str, Any]:
        reports = commit.reports
        return {
            "interval_id": intervals,
            "node_id": [self._ids.node(d.node) for d in reports],
            "boot_id": [self._ids.boot(d.node, d.boot) for d in reports],
            "layout_id": [self._ids.layout(d.readings.layout) for d in reports],
            "is_gap": np.zeros(len(reports), dtype=bool),
            "start_us": [d.start_us for d in reports],
            "end_us": [d.end_us for d in reports],
            "end_unix_us": [d.end_us + d.realtime_offset_us for d in reports],
            "unread_us": commit.books.unread_us,
            "raised_uj": commit.books.raised_uj,
            "missing_ppm": np.zeros(len(reports), dtype=np.int64),
            "report": pa.array([d.serialized for d in reports], pa.binary()),
        }

    def _ledger(self, commit: Commit, intervals: Ints) -> dict[str, Any]:
        books, reports = commit.books, commit.reports
        node = np.array([self._ids.node(d.node) for d in reports], dtype=np.int64)
        end = np.array([d.end_us + d.realtime_offset_us for d in reports], dtype=np.int64)
        duration = np.array([d.end_us - d.start_us for d in reports], dtype=np.int64)
        return ledger_rows(books, self._ids, intervals, node, end, duration)

    def _insert_revisions(self, commit: Commit, intervals: Ints) -> None:
        if commit.late:
            reports, accounts = zip(*commit.late, strict=True)
            revisions = {
                "account_id": [self._ids.account(account) for account in accounts],
                "interval_id": intervals[list(reports)],
                "revised_unix_us": np.full(len(reports), commit.unix_us),
            }
            insert(self._connection, "revisions", pa.table(revisions))

    def _insert_gaps(self, commit: Commit, first: int) -> None:
        if commit.gaps:
            # The account that gaps are booked to, whether anything passed in them or not.
            self._ids.account("unattributed")
        for number, placed in enumerate(commit.gaps, start=first):
            gap, node = placed.gap, self._ids.node(placed.node)
            boot = self._ids.boot(placed.node, placed.boot)
            known = (gap.raised_uj, gap.missing_ppm)
            self._connection.execute(
                "INSERT INTO intervals VALUES (?, ?, ?, -1, true, ?, ?, ?, 0, ?, ?, NULL)",
                [number, node, boot, gap.start_us, gap.end_us, placed.end_unix_us, *known],
            )
            length_us = gap.end_us - gap.start_us
            missing_us = length_us * gap.missing_ppm // 1_000_000
            booked = [int(uj) for uj in gap.by_class_uj]
            values = [number, node, placed.end_unix_us, length_us, *booked, missing_us]
            self._connection.execute(
                f"INSERT INTO gap_ledger VALUES ({', '.join('?' * len(values))}, ?)", [*values, gap.raised_uj]
            )

    def _remove_filled(self, commit: Commit) -> None:
        for node, boot, start_us in commit.filled:
            found = self._connection.execute(
                "SELECT interval_id FROM intervals WHERE is_gap AND boot_id = ? AND start_us = ?",
                [self._ids.boot(node, boot), start_us],
            ).fetchall()
            for (interval,) in found:
                self._connection.execute("DELETE FROM gap_ledger WHERE interval_id = ?", [interval])
                self._connection.execute("DELETE FROM intervals WHERE interval_id = ?", [interval])
                self._connection.execute("DELETE FROM measured WHERE interval_id = ?", [interval])

    def _stage_jobs(self, reports: Sequence[Decoded]) -> None:
        for decoded in reports:
            layout = decoded.readings.layout
            began_us = decoded.start_us + decoded.realtime_offset_us
            node = self._ids.node(layout.node)
            for w in layout.message.workloads:
                if w.kind == report_pb2.WORKLOAD_KIND_JOB:
                    self._ids.job(node, job_of(w), w.source, w.name, w.user, w.start_unix_us or began_us)

    def _insert_ends(self, reports: Sequence[Decoded]) -> None:
        ends = [
            (end.workload_id, self._ids.node(d.node), end.end_unix_us, end.exit_status)
            for d in reports
            for end in d.ended
        ]
        # Of several Reports of a node the last one says how its sources are.
        states = {
            (self._ids.node(d.node), source.name): (source.state, source.reason, source.fix, d.end_us)
            for d in reports
            for source in d.sources
        }
        columns = ("job", "node_id", "end_unix_us", "exit_status")
        insert(self._connection, "job_ends", _rows_of(columns, ends))
        if states:
            newest = _rows_of(_STATES, [(*key, *state) for key, state in states.items()])
            self._connection.register("newest_states", newest)
            self._connection.execute(
                "DELETE FROM source_states USING newest_states AS n "
                "WHERE source_states.node_id = n.node_id AND source_states.name = n.name"
            )
            self._connection.unregister("newest_states")
            insert(self._connection, "source_states", newest)


_STATES = ("node_id", "name", "state", "reason", "fix", "unix_us")


def _rows_of(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    return (
        pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))) if rows else pa.table({})
    )


def _watched(reports: dict[str, Any], books: Books) -> dict[str, Any]:
    """Return how Reports were watched, of their rows of intervals, and what their meters delivered."""
    names = ("interval_id", "node_id", "end_unix_us", "unread_us", "raised_uj")
    length_us = np.array(reports["end_us"], dtype=np.int64) - np.array(reports["start_us"], dtype=np.int64)
    own = {name: reports[name] for name in names}
    return own | {"reported_us": length_us, "measured_uj": books.measured_uj}


def _long(ledger: dict[str, Any]) -> dict[str, Any]:
    """Return the rows that are of too long a time for cells."""
    own = np.flatnonzero(ledger["duration_us"] > LONG_US)
    named = {name: ledger[name][own] for name in ("interval_id", "node_id", "account_id")}
    named |= {name: ledger[name][own] for name in ("end_unix_us", "duration_us")}
    # Each is far below 63 bits; their sum need not be.
    energy_uj = sum((ledger[name][own].astype(object) for name in ENERGIES), start=np.zeros(len(own), object))
    return named | {"energy_uj": pa.array(energy_uj.tolist(), pa.decimal128(38))}
