"""What is asked of the embedded store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb import energy_over_time
from joulebook.collector.store.duckdb.sums import SumReads
from joulebook.collector.store.protocol import (
    AccountRow,
    JobRow,
    NodeRow,
    Range,
    TimeRow,
)

_ACTIVE = ", ".join(f"sum({name}_active_uj)::HUGEINT" for name in CLASSES)
_IDLE = ", ".join(f"sum({name}_idle_uj)::HUGEINT" for name in CLASSES)


class Reads(SumReads):
    """The reading half of the embedded store."""

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Give one state of the store to several questions; they are asked one after the other."""
        with self._reading(), self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            frozen = _Frozen(cursor, self.files)
            frozen._layouts = self._layouts
            try:
                yield frozen
            finally:
                cursor.execute("ROLLBACK")

    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""
        found = self._rows(
            "SELECT layout_id FROM layouts JOIN nodes USING (node_id) WHERE node = ? AND hash = ?",
            [node, hash_],
        )
        return self._layout(found[0][0]) if found else None

    def nodes(self) -> list[NodeRow]:
        """Return every node, by name."""
        states: dict[int, dict[str, tuple[int, str, str]]] = defaultdict(dict)
        for node_id, name, state, reason, fix in self._rows(
            "SELECT node_id, name, state, reason, fix FROM source_states ORDER BY name"
        ):
            states[node_id][name] = (state, reason, fix)
        rows = self._rows(
            """
            SELECT node_id, node, layout_id, boot, end_unix_us FROM (
                SELECT node_id, unnest(arg_max(
                    struct_pack(layout_id, boot_id, end_unix_us), (end_unix_us, end_us)))
                FROM intervals WHERE NOT is_gap GROUP BY node_id)
            JOIN nodes USING (node_id) JOIN boots USING (boot_id) ORDER BY node
            """
        )
        return [NodeRow(n, self._layout(y), bytes(b), t, states.get(i, {})) for i, n, y, b, t in rows]

    def jobs(self) -> list[JobRow]:
        """Return every job on every node, by job and node."""
        rows = self._rows(
            """
            SELECT job, node, source, name, user_name, start_unix_us, e.end_unix_us, e.exit_status
            FROM jobs JOIN nodes USING (node_id) LEFT JOIN (
                SELECT job, node_id, max(end_unix_us) AS end_unix_us,
                       arg_max(exit_status, end_unix_us) AS exit_status
                FROM job_ends GROUP BY ALL) AS e USING (job, node_id)
            ORDER BY job, node
            """
        )
        return [JobRow(*row) for row in rows]

    def accounts(self, selected: Range) -> list[AccountRow]:
        """Return what each account received on each node, from the ledger."""
        where, parameters = self._where(selected)
        if selected.account is not None:
            where += " AND account = ?"
            parameters.append(selected.account)
        rows = self._rows(
            f"""
            SELECT account, node, {_ACTIVE}, {_IDLE}, sum(modelled_uj)::HUGEINT, sum(systematic_uj)::HUGEINT,
                   sum(variance_uj2)::HUGEINT, sum(duration_us)::HUGEINT,
                   min(end_unix_us - duration_us), max(end_unix_us)
            FROM ledger JOIN nodes USING (node_id) JOIN accounts USING (account_id)
            WHERE {where} GROUP BY account, node ORDER BY account, node
            """,
            parameters,
        )
        n = len(CLASSES)
        return [AccountRow(r[0], r[1], r[2 : 2 + n], r[2 + n : 2 + 2 * n], *r[2 + 2 * n :]) for r in rows]

    def energy_over_time(
        self, from_us: int, to_us: int, step_us: int, node: str | None
    ) -> list[tuple[str, int, int]]:
        """Return (account, step, µJ) of the ledger over the steps of (from_us, to_us]; none that is 0.

        What was booked for an interval is spread evenly over its time, in whole µJ.
        """
        parameters = {"from": from_us, "to": to_us, "step": step_us, "node": node}
        return self._rows(energy_over_time.QUERY, parameters)

    def watched(self, selected: Range) -> list[TimeRow]:
        """Return how each node was watched."""
        where, parameters = self._where(selected)
        columns = "node_id, start_us, end_us, end_unix_us, is_gap, unread_us, raised_uj, missing_ppm"
        with self._reading():
            rows = self._rows(
                f"""
            SELECT node, coalesce(sum(end_us - start_us) FILTER (NOT is_gap), 0)::HUGEINT,
                   sum(unread_us)::HUGEINT,
                   coalesce(sum(end_us - start_us) FILTER (is_gap), 0)::HUGEINT,
                   sum((end_us - start_us)::HUGEINT * missing_ppm // 1000000)::HUGEINT,
                   sum(raised_uj)::HUGEINT
            FROM {self._marks(selected, columns)} JOIN nodes USING (node_id)
            WHERE {where} GROUP BY node ORDER BY node
            """,
                parameters,
            )
        return [TimeRow(*row) for row in rows]


class _Frozen(Reads):
    """Reads within one transaction: all of them see the same state."""

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield self._connection
