"""Rolling up: what came is added to series by minute, and noted as measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.store.duckdb import rollup
from joulebook.collector.store.duckdb.packed import unpack
from joulebook.collector.store.duckdb.rollup import Alike, Part
from joulebook.collector.store.duckdb.series import SeriesNumbers
from joulebook.collector.store.duckdb.staging import insert
from joulebook.collector.store.duckdb.store import DuckDBStore

Ints = npt.NDArray[np.int64]

# As many Reports are rolled up in a step, and as many of a kind in one set of arrays.
_AT_ONCE, _BESIDE = 4_000, 500
# interval_id, node_id, layout_id, end_unix_us, is_gap, report
_Fresh = tuple[int, int, int, int, bool, bytes]


class RollingUp:
    """Adds Reports up by minute, each in exactly one part however late it comes."""

    def __init__(self, store: DuckDBStore, series: SeriesNumbers) -> None:
        self._store, self._series = store, series

    def steps(self) -> Iterator[str]:
        """Add what came since the last time to minutes and to what was measured."""
        counts = dict(
            self._store._rows(
                "SELECT part, count(*) FROM intervals JOIN rolled ON node_id % 16 = part "
                "WHERE intervals.interval_id > rolled.interval_id GROUP BY part"
            )
        )
        together: list[int] = []
        for part, count in sorted(counts.items()):
            if sum(counts[p] for p in together) + count > _AT_ONCE and together:
                yield from self._roll_up(together)
                together = []
            together.append(part)
        if together:
            yield from self._roll_up(together)

    def _roll_up(self, parts: list[int]) -> Iterator[str]:
        """Roll up some sixteenths of the nodes, as many Reports in a step."""
        while True:
            rows = self._store._rows(
                """
                SELECT i.interval_id, node_id, layout_id, end_unix_us, is_gap, report
                FROM intervals AS i JOIN rolled AS r ON node_id % 16 = part
                WHERE i.interval_id > r.interval_id AND list_contains($1, part)
                ORDER BY i.interval_id LIMIT $2
                """,
                [parts, _AT_ONCE],
            )
            if not rows:
                return
            self._add(parts, rows)
            yield "rolled up"
            if len(rows) < _AT_ONCE:
                return

    def _add(self, parts: list[int], rows: Sequence[_Fresh]) -> None:
        reports = [row for row in rows if not row[4]]
        gaps = [row[0] for row in rows if row[4]]
        try:
            with self._store.writing() as connection:
                node_of = {row[2]: row[1] for row in reports}
                self._series.learn(connection, node_of.items(), self._store._layout)
                minutes: list[Part] = []
                measured: list[tuple[int, ...]] = []
                for numbers, alike in self._alike(reports):
                    minutes.append(rollup.minutes_of(alike))
                    columns = (numbers, alike.node_id, alike.end_unix_us, alike.drawn_uj())
                    measured += zip(*(column.tolist() for column in columns), strict=True)
                for number, node_id, end_unix_us, pair in self._store.gap_edges(gaps):
                    gap = gap_between(*pair)
                    uj = int(gap.by_class_uj.sum()) if gap else 0
                    measured.append((number, node_id, end_unix_us, uj))
                insert(connection, "minutes", rollup.table_of(minutes))
                insert(connection, "measured", _measured(measured))
                connection.execute(
                    "UPDATE rolled SET interval_id = $1 WHERE list_contains($2, part)", [rows[-1][0], parts]
                )
        except BaseException:
            self._series.forget()
            raise
        self._series.trim()

    def take_out(self, which: str, minutes: str) -> None:
        """Take Reports on a condition that are rolled up out of minutes on another: add what cancels them.

        least and most stay as they are.
        """
        rows: list[_Fresh] = self._store._rows(
            "SELECT interval_id, node_id, layout_id, end_unix_us, is_gap, report FROM intervals "
            f"WHERE NOT is_gap AND {which}"
        )
        if not rows:
            return
        with self._store.writing() as connection:
            self._series.learn(connection, {row[2]: row[1] for row in rows}.items(), self._store._layout)
            parts = rollup.table_of([rollup.minutes_of(alike) for _, alike in self._alike(rows)])
            connection.register("taken_out", parts)
            connection.execute(
                "INSERT INTO minutes BY NAME SELECT * REPLACE (-covered_us AS covered_us, -total AS total, "
                f"-weighted AS weighted) FROM taken_out WHERE {minutes}"
            )
            connection.unregister("taken_out")

    def _alike(self, reports: Iterable[_Fresh]) -> Iterator[tuple[Ints, Alike]]:
        """Give Reports of a kind together, and their numbers."""
        kinds: dict[int, list[_Fresh]] = defaultdict(list)
        for row in reports:
            kinds[id(self._store._layout(row[2]).kind)].append(row)
        for group in kinds.values():
            # A node's Reports of several layouts are in order of time too.
            group.sort(key=lambda row: (row[1], row[3]))
            for begin in range(0, len(group), _BESIDE):
                by_ticks: dict[int, list[tuple[_Fresh, Ints, Ints]]] = defaultdict(list)
                for row in group[begin : begin + _BESIDE]:
                    interval_us, values = unpack(row[5])
                    by_ticks[len(interval_us)].append((row, interval_us, values))
                yield from map(self._stacked, by_ticks.values())

    def _stacked(self, reports: list[tuple[_Fresh, Ints, Ints]]) -> tuple[Ints, Alike]:
        number, node_id, layout_id, end_unix_us = zip(*(row[:4] for row, _, _ in reports), strict=True)
        return np.array(number, dtype=np.int64), Alike(
            layout=self._store._layout(layout_id[0]),
            node_id=np.array(node_id, dtype=np.int64),
            end_unix_us=np.array(end_unix_us, dtype=np.int64),
            series=np.stack([self._series.of(one) for one in layout_id]),
            interval_us=np.stack([interval_us for _, interval_us, _ in reports]),
            values=np.stack([values for _, _, values in reports]),
        )


def _measured(rows: list[tuple[int, ...]]) -> pa.Table:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return pa.table(dict(zip(("interval_id", "node_id", "end_unix_us", "measured_uj"), columns, strict=True)))
