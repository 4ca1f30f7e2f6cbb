"""What the meters delivered, added up from raw readings: those at hand, and those that were rolled up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.ledger.measured import drawn_uj
from joulebook.collector.store.duckdb.files import HOUR_US, REPORTS
from joulebook.collector.store.duckdb.raw import RawReads
from joulebook.collector.store.duckdb.spans import energy_of
from joulebook.collector.store.protocol import Measured, Range


@dataclass(frozen=True, slots=True)
class _Block:
    """A block, whether its readings are there, and whether a range has all of its hour."""

    number: int
    hour: int
    has_raw: bool
    whole: bool


class MeasuredReads(RawReads):
    """Energy for the check of the books. The ledger's rows have no part in it."""

    def measured(self, selected: Range) -> Measured:
        """Return each node's energy of Reports and gaps, and of which time none is known any more."""
        found: dict[str, int] = defaultdict(int)
        with self._reading():
            blocks = self._blocks_about(selected)
            gone = _parts_of(sorted({b.hour for b in blocks if not (b.has_raw or b.whole)}), selected)
            where = f"end_unix_us > {selected.from_us} AND end_unix_us <= {selected.to_us}"
            where += f" AND {self._owners(selected)}"
            for one in gone:
                where += f" AND NOT (end_unix_us > {one.from_us} AND end_unix_us <= {one.to_us})"
            rows = self._rows(
                f"SELECT node_id, sum(measured_uj)::HUGEINT FROM measured WHERE {where} GROUP BY node_id"
            )
            rows += self._in_blocks(blocks, selected)
            for node_id, uj in rows:
                found[self._node_name(node_id)] += uj
            for node, uj in self._unrolled(where):
                found[node] += uj
        return Measured(found, gone, all(block.has_raw for block in blocks))

    def _blocks_about(self, selected: Range) -> list[_Block]:
        """Return the blocks of Reports that ended in a range, or in an hour that it has a part of."""
        rows = self._rows(
            f"""
            SELECT block_id, hour, has_raw,
                   hour * {HOUR_US} >= $1::HUGEINT AND (hour + 1) * {HOUR_US} <= $2::HUGEINT AS whole
            FROM blocks
            WHERE reports > 0
                AND (hour + 1) * {HOUR_US} > $1::HUGEINT AND hour * {HOUR_US} < $2::HUGEINT
            """,
            [selected.from_us, selected.to_us],
        )
        return [_Block(*row) for row in rows]

    def _unrolled(self, where: str) -> list[tuple[str, int]]:
        """Return the energy of what is not rolled up yet by node: as was read off each Report when it came.

        A roll-up reads all of it again, from what is stored.
        """
        noted = (
            "SELECT interval_id, measured_uj FROM watched_reports "
            "WHERE interval_id > (SELECT min(interval_id) FROM rolled)"
        )
        rows: list[tuple[str, int]] = []
        gaps: list[int] = []
        others: list[int] = []
        for node_id, uj, own_gaps, not_noted in self._rows(
            f"""
            SELECT node_id, sum(measured_uj)::HUGEINT, list(i.interval_id) FILTER (is_gap),
                list(i.interval_id) FILTER (NOT is_gap AND measured_uj IS NULL)
            FROM intervals AS i JOIN rolled AS r ON node_id % 16 = part AND i.interval_id > r.interval_id
            LEFT JOIN ({noted}) AS w ON i.interval_id = w.interval_id WHERE {where} GROUP BY node_id
            """
        ):
            rows.append((self._node_name(node_id), uj or 0))
            gaps += own_gaps or []
            others += not_noted or []
        for *_, (before, after) in self.gap_edges(gaps) if gaps else []:
            if (gap := gap_between(before, after)) is not None:
                rows.append((after.layout.node, int(gap.by_class_uj.sum())))
        return rows + self._not_noted(others)

    def _not_noted(self, intervals: list[int]) -> list[tuple[str, int]]:
        """Return the energy of Reports that came before it was noted, read off them now."""
        if not intervals:
            return []
        found = []
        for layout_id, report in self._rows(
            "SELECT layout_id, report FROM intervals SEMI JOIN (SELECT unnest($1::BIGINT[]) AS interval_id) "
            "USING (interval_id)",
            [intervals],
        ):
            layout = self._layout(layout_id)
            found.append((layout.node, int(drawn_uj(layout, energy_of(layout, report)[:, 1:]).sum())))
        return found

    def _in_blocks(self, blocks: Sequence[_Block], selected: Range) -> list[tuple[int, int]]:
        """Return the energy of blocks by node: of whole hours, and of parts whose readings are there."""
        rows: list[tuple[int, int]] = []
        if whole := [block.number for block in blocks if block.whole]:
            # Whole hours that lie together nearly always are blocks that do.
            rows += self._rows(
                f"""
                SELECT node_id, sum(measured_uj)::HUGEINT FROM measured_blocks
                WHERE block_id BETWEEN {min(whole)} AND {max(whole)} AND list_contains($1, block_id)
                    AND {self._owners(selected)} GROUP BY node_id
                """,
                [whole],
            )
        parts = [(block.number, block.hour) for block in blocks if block.has_raw and not block.whole]
        if parts:
            rows += self._rows(
                f"""
                SELECT node_id, sum(measured_uj)::HUGEINT FROM {self._parquet(REPORTS, parts)}
                WHERE end_unix_us > {selected.from_us} AND end_unix_us <= {selected.to_us}
                    AND {self._owners(selected)} GROUP BY node_id
                """
            )
        return rows


def _parts_of(hours: Sequence[int], selected: Range) -> list[Range]:
    """Return what a range has of some hours."""
    return [
        Range(
            max(hour * HOUR_US, selected.from_us),
            min((hour + 1) * HOUR_US, selected.to_us),
            selected.node,
            selected.account,
        )
        for hour in hours
    ]
