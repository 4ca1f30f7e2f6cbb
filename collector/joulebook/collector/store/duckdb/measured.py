"""What the meters delivered, added up from raw readings: those at hand, and those that were rolled up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
            where, parameters = self._where(selected)
            for one in gone:
                where += f" AND NOT (end_unix_us > {one.from_us} AND end_unix_us <= {one.to_us})"
            rows = self._rows(
                f"""
                SELECT node, sum(measured_uj)::HUGEINT FROM measured JOIN nodes USING (node_id)
                WHERE {where} GROUP BY node
                """,
                parameters,
            )
            rows += self._in_blocks(blocks, selected)
            rows += self._unrolled(where, parameters)
            for node, uj in rows:
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

    def _unrolled(self, where: str, parameters: list[Any]) -> list[tuple[str, int]]:
        """Return the energy of what is not rolled up yet by node: as was read off each Report when it came.

        A roll-up reads all of it again, from what is stored.
        """
        unrolled = f"""
            SELECT node, i.interval_id, is_gap FROM intervals AS i
            JOIN rolled AS r ON node_id % 16 = part AND i.interval_id > r.interval_id
            JOIN nodes USING (node_id) WHERE {where}"""
        noted = "FROM watched_reports WHERE interval_id > (SELECT min(interval_id) FROM rolled)"
        rows = self._rows(
            f"""
            SELECT node, sum(measured_uj)::HUGEINT FROM ({unrolled} AND NOT is_gap) JOIN ({noted})
            USING (interval_id) WHERE measured_uj IS NOT NULL GROUP BY node
            """,
            parameters,
        )
        others = self._rows(
            f"""
            SELECT interval_id, is_gap FROM ({unrolled}) ANTI JOIN ({noted} AND measured_uj IS NOT NULL)
            USING (interval_id)
            """,
            parameters,
        )
        for *_, (before, after) in self.gap_edges([number for number, is_gap in others if is_gap]):
            if (gap := gap_between(before, after)) is not None:
                rows.append((after.layout.node, int(gap.by_class_uj.sum())))
        return rows + self._not_noted([number for number, is_gap in others if not is_gap])

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

    def _in_blocks(self, blocks: Sequence[_Block], selected: Range) -> list[tuple[str, int]]:
        """Return the energy of blocks by node: of whole hours, and of parts whose readings are there."""
        rows = self._rows(
            """
            SELECT node, sum(measured_uj)::HUGEINT FROM measured_blocks
            SEMI JOIN (SELECT unnest($1::INTEGER[]) AS block_id) USING (block_id) JOIN nodes USING (node_id)
            WHERE $2 IS NULL OR node = $2 GROUP BY node
            """,
            [[block.number for block in blocks if block.whole], selected.node],
        )
        parts = [(block.number, block.hour) for block in blocks if block.has_raw and not block.whole]
        if parts:
            where, parameters = self._where(selected)
            rows += self._rows(
                f"""
                SELECT node, sum(measured_uj)::HUGEINT
                FROM {self._parquet(REPORTS, parts)} JOIN nodes USING (node_id) WHERE {where} GROUP BY node
                """,
                parameters,
            )
        return [(node, uj) for node, uj in rows]


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
