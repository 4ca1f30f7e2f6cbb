"""Series in steps of whole minutes or hours, from what was rolled up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.series_rows import SeriesKey
from joulebook.collector.store.duckdb.files import HOUR_US, MINUTES
from joulebook.collector.store.duckdb.measured import MeasuredReads
from joulebook.collector.store.duckdb.rollup import MINUTE_US
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.readings import Sums
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]
_COLUMNS = "series_id, covered_us, total, weighted"


class SumReads(MeasuredReads):
    """Sums of series over steps."""

    def sums(self, selected: Range, step_us: int, metric: int, subject: str | None) -> list[Sums] | None:
        """Return a metric's series over the steps of a range that lies on whole minutes; None for others.

        Ticks count by their own ends. A series that has none in the range is left out.
        """
        if step_us % MINUTE_US or selected.from_us % MINUTE_US or selected.to_us % MINUTE_US:
            return None
        # A step that may be shorter is the last one.
        by_hour = not (step_us % HOUR_US or selected.from_us % HOUR_US or selected.to_us % HOUR_US)
        steps = -(-(selected.to_us - selected.from_us) // step_us)
        with self._reading():
            series = self.series_named(metric, selected.node, subject)
            found: dict[tuple[str, SeriesKey], Sums] = {}
            if series:
                which = "" if selected.node is None and subject is None else _of_series([*series])
                table = self._rolled(selected, step_us, metric, which, by_hour=by_hour)
                _take(found, table, series, steps)
            self._add_unrolled_ticks(found, selected, step_us, metric, subject)
        return [
            found[name]
            for name in sorted(found, key=lambda n: (n[0], n[1].domain, n[1].device, n[1].workload))
        ]

    def _rolled(self, selected: Range, step_us: int, metric: int, which: str, *, by_hour: bool) -> pa.Table:
        """Return (series, step, sums) of all parts that lie in a range, of series on a condition."""
        first, last = selected.from_us // MINUTE_US, selected.to_us // MINUTE_US
        minutes = f"WHERE metric = {int(metric)} AND minute >= {first} AND minute < {last}{which}"
        parts = [f"SELECT {_COLUMNS}, minute::BIGINT AS minute FROM minutes {minutes}"]
        if by_hour:
            parts.append(
                f"SELECT {_COLUMNS}, hour::BIGINT * 60 AS minute FROM hours "
                f"WHERE metric = {int(metric)} AND hour >= {first // 60} AND hour < {last // 60}{which}"
            )
        else:
            blocks = self._rows(
                "SELECT block_id, hour FROM blocks WHERE has_minutes AND hour >= ? AND hour * 60 < ?",
                [first // 60, last],
            )
            if blocks:
                files = self._parquet(MINUTES, [(block, hour) for block, hour in blocks])
                parts.append(f"SELECT {_COLUMNS}, minute::BIGINT AS minute FROM {files} {minutes}")
        return self._table(
            f"""
            SELECT series_id, (minute - {first}) * {MINUTE_US} // {int(step_us)} AS step,
                   sum(covered_us)::BIGINT AS covered_us, sum(total)::BIGINT AS total,
                   sum(weighted) AS weighted
            FROM ({" UNION ALL ".join(parts)}) GROUP BY ALL
            """,
            [],
        )

    def _add_unrolled_ticks(
        self,
        found: dict[tuple[str, SeriesKey], Sums],
        selected: Range,
        step_us: int,
        metric: int,
        subject: str | None,
    ) -> None:
        # A Report reaches past the range's end by no more than its own length.
        around = Range(selected.from_us, selected.to_us + HOUR_US * 24, selected.node)
        steps = -(-(selected.to_us - selected.from_us) // step_us)
        is_counter = catalogue()[metric].is_counter
        for name, parts in self.unrolled_ticks(around, metric, subject).items():
            for _, unix_us, interval_us, values in parts:
                inside = (unix_us > selected.from_us) & (unix_us <= selected.to_us)
                if not inside.any():
                    continue
                step = (unix_us[inside] - selected.from_us - 1) // step_us
                sums = found.setdefault(name, _nothing(*name, steps))
                np.add.at(sums.covered_us, step, interval_us[inside])
                if is_counter:
                    np.add.at(sums.total, step, values[inside])
                else:
                    np.add.at(sums.weighted, step, values[inside].astype(np.float64) * interval_us[inside])


def _of_series(numbers: list[int]) -> str:
    """Return the condition that takes these series; a node's of a metric are in a row."""
    least, most = min(numbers), max(numbers)
    among = f" AND series_id BETWEEN {least} AND {most}"
    if most - least + 1 != len(numbers):
        among += f" AND series_id IN ({', '.join(map(str, numbers))})"
    return among


def _take(
    found: dict[tuple[str, SeriesKey], Sums],
    table: pa.Table,
    series: dict[int, tuple[str, SeriesKey]],
    steps: int,
) -> None:
    """Lay a table out by series and step."""
    columns = {name: table[name].to_numpy() for name in table.column_names}
    numbers, row = np.unique(columns["series_id"], return_inverse=True)
    covered_us, total = np.zeros((2, len(numbers), steps), dtype=np.int64)
    weighted = np.zeros((len(numbers), steps))
    for laid, name in ((covered_us, "covered_us"), (total, "total"), (weighted, "weighted")):
        laid[row, columns["step"]] = columns[name]
    for i, number in enumerate(numbers.tolist()):
        if (named := series.get(number)) is not None:
            found[named] = Sums(*named, covered_us[i], total[i], weighted[i])


def _nothing(node: str, key: SeriesKey, steps: int) -> Sums:
    none = np.zeros((2, steps), dtype=np.int64)
    return Sums(node, key, none[0], none[1], np.zeros(steps))
