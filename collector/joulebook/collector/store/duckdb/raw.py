"""Readings as they came, wherever they are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.series_rows import SeriesKey
from joulebook.collector.store.duckdb.block import SideBySide, side_by_side
from joulebook.collector.store.duckdb.packed import Packed, strip
from joulebook.collector.store.duckdb.spans import ENERGY, SpanReads, energy_of
from joulebook.collector.store.protocol import Range, RawEnergy
from joulebook.collector.store.readings import Points
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]
# Of one series: the end of the Report that each tick belongs to, the tick's end, its length, its value.
Ticks = tuple[Ints, Ints, Ints, Ints]
Found = dict[tuple[str, SeriesKey], list[Ticks]]


class RawReads(SpanReads):
    """What is read off Reports themselves."""

    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""
        groups: dict[tuple[int, int], list[Ints]] = defaultdict(list)
        with self._reading():
            for layout_id, reports in self._reports(selected):
                layout = self._layout(layout_id)
                for _, _, report in reports:
                    energy = energy_of(layout, report)[:, 1:]
                    groups[layout_id, energy.shape[1]].append(energy)
            for own in self._strips(self._blocks(selected), self._owners(selected), ENERGY):
                rows, has = self._energy_rows(self._layout(own.layout_id), own)
                ends = np.cumsum(own.beside.ticks).tolist()
                for i in np.flatnonzero(_inside(own.end_unix_us, selected)).tolist():
                    length = int(own.beside.ticks[i])
                    energy = np.zeros((len(has), length), dtype=np.int64)
                    energy[has] = own.beside.change[rows, ends[i] - length : ends[i]]
                    groups[own.layout_id, length].append(energy)
        return [RawEnergy(self._layout(number), np.stack(own)) for (number, _), own in groups.items()]

    def side_by_side(self, selected: Range) -> Iterator[tuple[int, Ints, SideBySide]]:
        """Give the readings of Reports that ended in a range, of one layout at a time.

        That is the layout's number, the wall clock at the end of each Report, and the readings.
        """
        with self._reading():
            for layout_id, reports in self._reports(selected):
                ends = np.array([end_unix_us for _, end_unix_us, _ in reports], dtype=np.int64)
                yield layout_id, ends, side_by_side(reports)
            for own in self._strips(self._blocks(selected), self._owners(selected)):
                inside = np.flatnonzero(_inside(own.end_unix_us, selected))
                if len(inside):
                    yield own.layout_id, own.end_unix_us[inside], own.beside.some(inside)

    def _reports(self, selected: Range, *, unrolled: bool = False) -> list[tuple[int, list[Packed]]]:
        """Return the fresh Reports that ended in a range, by their layouts; unrolled: those not rolled up."""
        where, parameters = self._where(selected)
        joined = (
            "JOIN rolled AS r ON node_id % 16 = part AND i.interval_id > r.interval_id" if unrolled else ""
        )
        rows = self._rows(
            f"""
            SELECT layout_id, i.interval_id, end_unix_us, report
            FROM intervals AS i JOIN nodes USING (node_id) {joined}
            WHERE NOT is_gap AND {where} ORDER BY end_unix_us
            """,
            parameters,
        )
        by_layout: dict[int, list[Packed]] = defaultdict(list)
        for layout_id, *packed in rows:
            by_layout[layout_id].append(tuple(packed))
        return list(by_layout.items())

    def _owners(self, selected: Range) -> str:
        """Return the condition on strips that a range of one node makes."""
        if selected.node is None:
            return "true"
        number = self._rows("SELECT node_id FROM nodes WHERE node = ?", [selected.node])
        return f"node_id = {number[0][0]}" if number else "false"

    def raw_gaps(self, selected: Range) -> list[tuple[Edge, Edge]]:
        """Return the raw readings on both sides of every gap, for the check of the books.

        None of gaps whose neighbours' readings are forgotten.
        """
        where, parameters = self._where(selected)
        gaps = self._rows(
            f"SELECT interval_id FROM intervals JOIN nodes USING (node_id) WHERE is_gap AND {where}",
            parameters,
        )
        return [edges for *_, edges in self.gap_edges([number for (number,) in gaps])]

    def gap_edges(self, gaps: Sequence[int]) -> list[tuple[int, int, int, tuple[Edge, Edge]]]:
        """Return the number, node and wall clock of gaps that are still there, and both their sides."""
        rows = self._rows(
            """
            SELECT interval_id, node_id, end_unix_us, node, boot, start_us, end_us FROM intervals
            JOIN nodes USING (node_id) JOIN boots USING (boot_id)
            WHERE is_gap AND list_contains($1::BIGINT[], interval_id)
            """,
            [list(gaps)],
        )
        found = []
        for number, node_id, end_unix_us, node, boot, start_us, end_us in rows:
            spans = [s for s in self.spans(node, bytes(boot), start_us, end_us) if not s.forgotten]
            before = [s.end for s in spans if s.end.at_us == start_us]
            after = [s.start for s in spans if s.start.at_us == end_us]
            if before and after:
                found.append((number, node_id, end_unix_us, (before[0], after[0])))
        return found

    def points(self, selected: Range, metric: int, subject: str | None) -> list[Points]:
        """Return the series of a metric, of one subject where it is named."""
        found: Found = defaultdict(list)
        with self._reading():
            self._add_fresh(found, self._reports(selected), metric, subject)
            self._add_settled(found, selected, metric, subject)
        ordered = sorted(found.items(), key=lambda item: _order(*item[0]))
        return [_joined(node, key, parts) for (node, key), parts in ordered]

    def unrolled_ticks(self, selected: Range, metric: int, subject: str | None) -> Found:
        """Return the ticks of a metric that are not rolled up yet."""
        found: Found = defaultdict(list)
        self._add_fresh(found, self._reports(selected, unrolled=True), metric, subject)
        return found

    def _add_fresh(
        self, found: Found, fresh: list[tuple[int, list[Packed]]], metric: int, subject: str | None
    ) -> None:
        for layout_id, reports in fresh:
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

    def _add_settled(self, found: Found, selected: Range, metric: int, subject: str | None) -> None:
        blocks = self._blocks(selected)
        series = self.series_named(metric, selected.node, subject) if blocks else {}
        if not series:
            return
        which = f"metric = {int(metric)}"
        if subject is not None:
            which += f" AND series_id IN ({', '.join(map(str, series))})"
        for own in self._strips(blocks, self._owners(selected), which):
            inside = _inside(own.end_unix_us, selected)
            if not inside.any():
                continue
            ticks = np.repeat(inside, own.beside.ticks)
            values = own.beside.change if catalogue()[metric].is_counter else own.beside.levels()
            end_us = np.repeat(own.end_unix_us, own.beside.ticks)[ticks]
            unix_us, lengths = own.beside.unix_us(own.end_unix_us)[ticks], own.beside.interval_us[ticks]
            with self._block_read(own.block):
                keys = [series[number] for number in own.series.tolist()]
            for key, one in zip(keys, values, strict=True):
                found[key].append((end_us, unix_us, lengths, one[ticks]))

    def series_named(
        self, metric: int, node: str | None, subject: str | None
    ) -> dict[int, tuple[str, SeriesKey]]:
        """Return the series of a metric by their numbers, of a node and of a subject where they are named."""
        rows = self._rows(
            """
            SELECT series_id, node, domain, device, workload FROM series JOIN nodes USING (node_id)
            WHERE metric = $1 AND ($2 IS NULL OR node = $2)
                AND ($3 IS NULL OR $3 IN (domain, device, workload, workload || '/' || domain))
            """,
            [metric, node, subject],
        )
        return {number: (name, SeriesKey(metric, *own)) for number, name, *own in rows}


def _inside(end_unix_us: Ints, selected: Range) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (end_unix_us > selected.from_us) & (end_unix_us <= selected.to_us)
    return inside


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
