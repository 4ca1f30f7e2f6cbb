"""Where Reports stand on their nodes' boot clocks, wherever their readings are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.blocks import BlockReads, Strip
from joulebook.collector.store.duckdb.packed import unpack
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]
# In place of a block: readings that are forgotten.
FORGOTTEN = -1
ENERGY = f"metric = {metrics.METRIC_DOMAIN_ENERGY}"


class SpanReads(BlockReads):
    """The places of Reports, and the readings of energy at both of their ends."""

    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node."""
        last = self._rows(
            "SELECT arg_max(interval_id, end_us) FROM intervals WHERE NOT is_gap GROUP BY boot_id"
        )
        return dict(self._spans([row[0] for row in last]))

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side.

        Of those whose readings are forgotten all that meet are one span.
        """
        with self._reading():
            number = self._rows(
                "SELECT boot_id FROM boots JOIN nodes USING (node_id) WHERE node = ? AND boot = ?",
                [node, boot],
            )
            if not number:
                return []
            ((boot_id,),) = number
            found = self._rows(
                """
                WITH mine AS (
                    SELECT interval_id, start_us, end_us FROM intervals WHERE NOT is_gap AND boot_id = $1)
                SELECT interval_id FROM mine WHERE end_us >= $2 AND start_us <= $3
                UNION SELECT arg_max(interval_id, end_us) FROM mine WHERE end_us < $2
                UNION SELECT arg_min(interval_id, start_us) FROM mine WHERE start_us > $3
                """,
                [boot_id, start_us, end_us],
            )
            spans = [span for _, span in self._spans([row[0] for row in found if row[0] is not None])]
            settled = self._settled_spans(node, boot_id, start_us, end_us)
            return _around([*spans, *settled], start_us, end_us) if settled else spans

    def _spans(self, intervals: list[int]) -> list[tuple[tuple[str, bytes], Span]]:
        """Return the spans of fresh Reports, in order of their starts."""
        rows = self._rows(
            """
            SELECT node, boot, layout_id, start_us, end_us, end_unix_us, report
            FROM intervals JOIN nodes USING (node_id)
            JOIN boots USING (boot_id)
            SEMI JOIN (SELECT unnest($1::BIGINT[]) AS interval_id) USING (interval_id) ORDER BY start_us
            """,
            [intervals],
        )
        self._learn_layouts(row[2] for row in rows)
        result = []
        for node, boot, layout_id, start_us, end_us, end_unix_us, report in rows:
            layout = self._layout(layout_id)
            energy = energy_of(layout, report)
            first = energy[:, 0]
            start = Edge(layout, start_us, first)
            end = Edge(layout, end_us, first + energy[:, 1:].sum(axis=1))
            result.append(((node, bytes(boot)), Span(start, end, end_unix_us - (end_us - start_us))))
        return result

    def _settled_spans(self, node: str, boot_id: int, start_us: int, end_us: int) -> list[Span]:
        """Return what there is of the same in blocks, and perhaps more; what is forgotten too."""
        runs = self._rows(
            """
            WITH mine AS (SELECT * FROM runs WHERE boot_id = $1)
            SELECT block_id, start_us, end_us FROM mine WHERE end_us >= $2 AND start_us <= $3
            UNION (SELECT block_id, start_us, end_us FROM mine WHERE end_us < $2 ORDER BY end_us DESC LIMIT 1)
            UNION (SELECT block_id, start_us, end_us FROM mine WHERE start_us > $3 ORDER BY start_us LIMIT 1)
            """,
            [boot_id, start_us, end_us],
        )
        spans = [_forgotten(node, begin, end) for block, begin, end in runs if block == FORGOTTEN]
        numbers = sorted({block for block, _, _ in runs} - {FORGOTTEN})
        if numbers:
            blocks = self._rows(
                "SELECT block_id, hour FROM blocks WHERE list_contains($1, block_id)", [numbers]
            )
            for strip in self._strips([(b, h) for b, h in blocks], f"boot_id = {boot_id}", ENERGY):
                spans += self._spans_of(strip)
        return spans

    def _spans_of(self, strip: Strip) -> list[Span]:
        layout = self._layout(strip.layout_id)
        own, has = self._energy_rows(layout, strip)
        spans = []
        for i, end in enumerate(np.cumsum(strip.beside.ticks).tolist()):
            first, last = np.zeros((2, len(has)), dtype=np.int64)
            level = strip.beside.jump[own, : i + 1].sum(axis=1)
            first[has] = level + strip.beside.change[own, : end - int(strip.beside.ticks[i])].sum(axis=1)
            last[has] = level + strip.beside.change[own, :end].sum(axis=1)
            start_us, end_us = int(strip.start_us[i]), int(strip.end_us[i])
            start_unix_us = int(strip.end_unix_us[i]) - (end_us - start_us)
            spans.append(Span(Edge(layout, start_us, first), Edge(layout, end_us, last), start_unix_us))
        return spans

    def _energy_rows(self, layout: NodeLayout, strip: Strip) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return which rows of a strip are the energy of a layout's domains, and which domains have one."""
        names = dict(
            self._rows(
                "SELECT domain, series_id FROM series WHERE list_contains($1, series_id)",
                [strip.series.tolist()],
            )
        )
        place = {number: i for i, number in enumerate(strip.series.tolist())}
        has = layout.energy_row >= 0
        with self._block_read(strip.block):
            own = [
                place[names[n]] for n, there in zip(layout.domain_names, has.tolist(), strict=True) if there
            ]
        return np.array(own, dtype=np.int64), has


def energy_of(layout: NodeLayout, report: bytes) -> Ints:
    """Return a Report's rows of energy by domain; 0 where a domain has none.

    Of a Report that is not whole nothing is read, and so it is found by the check.
    """
    rows = layout.energy_row
    try:
        values = unpack(report)[1]
    except (DecodeError, ValueError):
        values = np.zeros((0, 2), dtype=np.int64)
    if len(values) != len(layout.is_counter):
        return np.zeros((len(rows), 2), dtype=np.int64)
    return np.where((rows >= 0)[:, None], values[rows], 0)


def _around(spans: Sequence[Span], start_us: int, end_us: int) -> list[Span]:
    """Return those that touch [start_us, end_us] and the nearest on either side, in order."""
    ordered = sorted(spans, key=lambda s: s.start.at_us)
    before = [s for s in ordered if s.end.at_us < start_us]
    touching = [s for s in ordered if s.end.at_us >= start_us and s.start.at_us <= end_us]
    after = [s for s in ordered if s.start.at_us > end_us]
    return [*before[-1:], *touching, *after[:1]]


def _forgotten(node: str, start_us: int, end_us: int) -> Span:
    nothing = NodeLayout(0, report_pb2.Layout(node=node))
    none = np.zeros(0, dtype=np.int64)
    return Span(Edge(nothing, start_us, none), Edge(nothing, end_us, none), 0, forgotten=True)
