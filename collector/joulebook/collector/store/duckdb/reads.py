"""What is asked of the embedded store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb import energy_over_time
from joulebook.collector.store.duckdb.columns import energy_by_layout, points_by_series
from joulebook.collector.store.protocol import (
    AccountRow,
    JobRow,
    NodeRow,
    Points,
    Range,
    RawEnergy,
    TimeRow,
)
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]

_ACTIVE = ", ".join(f"sum({name}_active_uj)::HUGEINT" for name in CLASSES)
_IDLE = ", ".join(f"sum({name}_idle_uj)::HUGEINT" for name in CLASSES)


class Reads:
    """The reading half of the embedded store. Every call has a cursor of its own, so calls may overlap."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._layouts: dict[int, NodeLayout] = {}

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Give one state of the store to several questions; they are asked one after the other."""
        with self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            frozen = _Frozen(cursor)
            frozen._layouts = self._layouts
            try:
                yield frozen
            finally:
                cursor.execute("ROLLBACK")

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()

    def _rows(
        self, query: str, parameters: list[Any] | dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            return cursor.execute(query, parameters or []).fetchall()

    def _table(self, query: str, parameters: list[Any]) -> pa.Table:
        with self._cursor() as cursor:
            return cursor.sql(query, params=parameters).to_arrow_table()

    def _layout(self, layout_id: int) -> NodeLayout:
        found = self._layouts.get(layout_id)
        if found is None:
            ((hash_, serialized),) = self._rows(
                "SELECT hash, serialized FROM layouts WHERE layout_id = ?", [layout_id]
            )
            if len(self._layouts) > 2_000:
                self._layouts.clear()
            found = NodeLayout(hash_, report_pb2.Layout.FromString(serialized))
            self._layouts[layout_id] = found
        return found

    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""
        found = self._rows(
            "SELECT layout_id FROM layouts JOIN nodes USING (node_id) WHERE node = ? AND hash = ?",
            [node, hash_],
        )
        return self._layout(found[0][0]) if found else None

    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node."""
        last = self._rows(
            "SELECT arg_max(interval_id, end_us) FROM intervals WHERE NOT is_gap GROUP BY boot_id"
        )
        return dict(self._spans([row[0] for row in last]))

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        found = self._rows(
            """
            WITH mine AS (
                SELECT interval_id, start_us, end_us FROM intervals WHERE NOT is_gap AND boot_id = (
                    SELECT boot_id FROM boots JOIN nodes USING (node_id) WHERE node = $1 AND boot = $2))
            SELECT interval_id FROM mine WHERE end_us >= $3 AND start_us <= $4
            UNION SELECT arg_max(interval_id, end_us) FROM mine WHERE end_us < $3
            UNION SELECT arg_min(interval_id, start_us) FROM mine WHERE start_us > $4
            """,
            [node, boot, start_us, end_us],
        )
        return [span for _, span in self._spans([row[0] for row in found if row[0] is not None])]

    def _spans(self, intervals: list[int]) -> list[tuple[tuple[str, bytes], Span]]:
        """Return the spans of Reports, in order of their starts."""
        rows = self._rows(
            """
            SELECT interval_id, node, boot, layout_id, start_us, end_us,
                   end_unix_us - (end_us - start_us)
            FROM intervals JOIN nodes USING (node_id)
            JOIN boots USING (boot_id) WHERE list_contains($1, interval_id) ORDER BY start_us
            """,
            [intervals],
        )
        readings: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
        for interval, domain, first, last in self._rows(
            """
            SELECT interval_id, domain, first, first + list_sum(change)
            FROM chunks JOIN series USING (series_id) WHERE metric = $2 AND list_contains($1, interval_id)
            """,
            [intervals, metrics.METRIC_DOMAIN_ENERGY],
        ):
            readings[interval][domain] = (first, last)
        result = []
        for interval, node, boot, layout_id, start_us, end_us, start_unix_us in rows:
            layout = self._layout(layout_id)
            ends = [readings[interval].get(name, (0, 0)) for name in layout.domain_names]
            first = np.array([e[0] for e in ends], dtype=np.int64)
            last = np.array([e[1] for e in ends], dtype=np.int64)
            span = Span(Edge(layout, start_us, first), Edge(layout, end_us, last), start_unix_us)
            result.append(((node, bytes(boot)), span))
        return result

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

    @staticmethod
    def _where(selected: Range, node_column: str = "node") -> tuple[str, list[Any]]:
        where, parameters = "end_unix_us > ? AND end_unix_us <= ?", [selected.from_us, selected.to_us]
        if selected.node is not None:
            where += f" AND {node_column} = ?"
            parameters.append(selected.node)  # type: ignore[arg-type]
        return where, list[Any](parameters)

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
        rows = self._rows(
            f"""
            SELECT node, coalesce(sum(end_us - start_us) FILTER (NOT is_gap), 0)::HUGEINT,
                   sum(unread_us)::HUGEINT,
                   coalesce(sum(end_us - start_us) FILTER (is_gap), 0)::HUGEINT,
                   sum((end_us - start_us)::HUGEINT * missing_ppm // 1000000)::HUGEINT,
                   sum(raised_uj)::HUGEINT
            FROM intervals JOIN nodes USING (node_id) WHERE {where} GROUP BY node ORDER BY node
            """,
            parameters,
        )
        return [TimeRow(*row) for row in rows]

    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""
        where, parameters = self._where(selected, "nodes.node")
        table = self._table(
            f"""
            SELECT interval_id, layout_id, len(change) AS ticks, domain, change
            FROM chunks
            JOIN (SELECT series_id, domain FROM series WHERE metric = {metrics.METRIC_DOMAIN_ENERGY})
                USING (series_id)
            JOIN (SELECT interval_id, layout_id, node_id FROM intervals
                  WHERE end_unix_us > {int(selected.from_us)} AND end_unix_us <= {int(selected.to_us)})
                USING (interval_id)
            JOIN nodes USING (node_id)
            WHERE {where} ORDER BY layout_id, ticks, domain, interval_id
            """,
            parameters,
        )
        return energy_by_layout(table, self._layout)

    def raw_gaps(self, selected: Range) -> list[tuple[Edge, Edge]]:
        """Return the raw readings on both sides of every gap, for the check of the books."""
        where, parameters = self._where(selected)
        gaps = self._rows(
            f"""
            SELECT node, boot, start_us, end_us FROM intervals
            JOIN nodes USING (node_id) JOIN boots USING (boot_id) WHERE is_gap AND {where}
            """,
            parameters,
        )
        pairs = []
        for node, boot, start_us, end_us in gaps:
            spans = self.spans(node, bytes(boot), start_us, end_us)
            before = next(s for s in spans if s.end.at_us == start_us)
            after = next(s for s in spans if s.start.at_us == end_us)
            pairs.append((before.end, after.start))
        return pairs

    def points(self, selected: Range, metric: int, subject: str | None) -> list[Points]:
        """Return the series of a metric, of one subject where it is named."""
        where, parameters = self._where(selected)
        if subject is not None:
            where += " AND ? IN (domain, device, workload, workload || '/' || domain)"
            parameters.append(subject)
        table = self._table(
            f"""
            SELECT node, domain, device, workload, i.end_unix_us, interval_us, first, change
            FROM chunks JOIN series USING (series_id) JOIN nodes USING (node_id)
            JOIN (SELECT interval_id, end_unix_us, interval_us FROM intervals) AS i USING (interval_id)
            WHERE metric = {int(metric)} AND {where.replace("end_unix_us", "chunks.end_unix_us")}
            ORDER BY node, domain, device, workload, i.end_unix_us
            """,
            parameters,
        )
        return points_by_series(table, metric)


class _Frozen(Reads):
    """Reads within one transaction: all of them see the same state."""

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield self._connection
