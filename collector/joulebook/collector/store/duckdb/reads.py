"""What is asked of the embedded store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import duckdb

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.book_reads import BookReads
from joulebook.collector.store.duckdb.job_reads import JobReads
from joulebook.collector.store.duckdb.node_reads import NodeReads
from joulebook.collector.store.duckdb.scheduled import ScheduledReads
from joulebook.collector.store.duckdb.sums import SumReads
from joulebook.collector.store.presence import places
from joulebook.collector.store.rows import Places


class Reads(BookReads, NodeReads, JobReads, ScheduledReads, SumReads):
    """The reading half of the embedded store."""

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Give one state of the store to several questions; they are asked one after the other."""
        with self._reading(), self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            frozen = _Frozen(cursor, self.files)
            frozen._know_what_does(self)
            frozen._same_state = True
            try:
                yield frozen
            finally:
                cursor.execute("ROLLBACK")

    def by_rows(self) -> Reads:
        """Return the same state, answering from rows alone and from nothing that was added up."""
        found = self._again()
        found._added_up = False
        return found

    def by_buckets(self, widest_us: int) -> Reads:
        """Return the same state, answering from no wider buckets than these."""
        found = self._again()
        found._widest_us = widest_us
        return found

    def _again(self) -> Reads:
        found = _Frozen(self._connection, self.files)
        found._know_what_does(self)
        found._added_up, found._widest_us = self._added_up, self._widest_us
        return found

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
        return places(self, nodes, jobs, everywhere)

    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""
        found = self._rows(
            "SELECT layout_id FROM layouts JOIN nodes USING (node_id) WHERE node = ? AND hash = ?",
            [node, hash_],
        )
        return self._layout(found[0][0]) if found else None


class _Frozen(Reads):
    """Reads within one transaction: all of them see the same state."""

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield self._connection
