"""Readings as they came, from the embedded store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout, SeriesKey
from joulebook.collector.store.duckdb.connected import Connected
from joulebook.collector.store.duckdb.packed import Packed, strip, unpack
from joulebook.collector.store.protocol import Points, Range, RawEnergy

Ints = npt.NDArray[np.int64]
# Of one series: the end of the Report that each tick belongs to, the tick's end, its length, its value.
Ticks = tuple[Ints, Ints, Ints, Ints]


class RawReads(Connected):
    """What is read off Reports themselves."""

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
            SELECT node, boot, layout_id, start_us, end_us, end_unix_us, report
            FROM intervals JOIN nodes USING (node_id)
            JOIN boots USING (boot_id) WHERE list_contains($1, interval_id) ORDER BY start_us
            """,
            [intervals],
        )
        result = []
        for node, boot, layout_id, start_us, end_us, end_unix_us, report in rows:
            layout = self._layout(layout_id)
            energy = _energy_of(layout, report)
            first = energy[:, 0]
            start = Edge(layout, start_us, first)
            end = Edge(layout, end_us, first + energy[:, 1:].sum(axis=1))
            result.append(((node, bytes(boot)), Span(start, end, end_unix_us - (end_us - start_us))))
        return result

    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""
        groups: dict[tuple[int, int], list[Ints]] = defaultdict(list)
        for layout_id, reports in self._reports(selected):
            layout = self._layout(layout_id)
            for _, _, report in reports:
                energy = _energy_of(layout, report)[:, 1:]
                groups[layout_id, energy.shape[1]].append(energy)
        return [RawEnergy(self._layout(number), np.stack(own)) for (number, _), own in groups.items()]

    def _reports(
        self, selected: Range, layouts: Sequence[int] | None = None
    ) -> list[tuple[int, list[Packed]]]:
        """Return the Reports that ended in a range by their layouts, of some layouts where they are given."""
        where, parameters = self._where(selected)
        if layouts is not None:
            where += " AND list_contains(?, layout_id)"
            parameters.append(list(layouts))
        rows = self._rows(
            f"""
            SELECT layout_id, interval_id, end_unix_us, report FROM intervals JOIN nodes USING (node_id)
            WHERE NOT is_gap AND {where} ORDER BY end_unix_us
            """,
            parameters,
        )
        by_layout: dict[int, list[Packed]] = defaultdict(list)
        for layout_id, *packed in rows:
            by_layout[layout_id].append(tuple(packed))
        return list(by_layout.items())

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
        found: dict[tuple[str, SeriesKey], list[Ticks]] = defaultdict(list)
        for layout_id, reports in self._reports(selected):
            layout = self._layout(layout_id)
            wanted = [
                (row, key)
                for row, key in enumerate(layout.series)
                if key.metric == metric and (subject is None or subject in _subjects(key))
            ]
            if not wanted:
                continue
            own = strip(reports, layout.is_counter, np.array([row for row, _ in wanted]))
            ends = {number: end_unix_us for number, end_unix_us, _ in reports}
            end_us = np.array([ends[number] for number in own.report.tolist()])
            for (_, key), values in zip(wanted, own.values, strict=True):
                found[layout.node, key].append((end_us, own.unix_us, own.interval_us, values))
        return [
            _joined(node, key, parts)
            for (node, key), parts in sorted(found.items(), key=lambda i: _order(*i[0]))
        ]


def _energy_of(layout: NodeLayout, report: bytes) -> Ints:
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


def _subjects(key: SeriesKey) -> tuple[str, ...]:
    """Return the names by which a series can be asked for."""
    return (key.domain, key.device, key.workload, f"{key.workload}/{key.domain}")


def _order(node: str, key: SeriesKey) -> tuple[str, str, str, str]:
    return node, key.domain, key.device, key.workload


def _joined(node: str, key: SeriesKey, parts: Sequence[Ticks]) -> Points:
    """Join a series' ticks, in the order of their Reports' ends."""
    ends, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ends, kind="stable")
    return Points(node, key, *(column[order] for column in columns))
