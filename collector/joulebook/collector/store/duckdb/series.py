"""Numbers of series, for readings that are kept by series."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.series_rows import SeriesKey

Ints = npt.NDArray[np.int64]
_MOST = 20_000
_COLUMNS = ("series_id", "node_id", "metric", "domain", "device", "workload")


class SeriesNumbers:
    """The numbers of layouts' series, in a layout's order. What is not kept here is asked of the store."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, npt.NDArray[np.int32]] = OrderedDict()

    def of(self, layout_id: int) -> npt.NDArray[np.int32]:
        """Return a layout's numbers; learn() has seen it."""
        return self._known[layout_id]

    def lacks(self, layouts: Iterable[tuple[int, int]]) -> bool:
        """Say whether any of (layout, node) numbers is not known."""
        return any(layout_id not in self._known for layout_id, _ in layouts)

    def learn(
        self,
        connection: duckdb.DuckDBPyConnection,
        layouts: Iterable[tuple[int, int]],
        layout_of: Callable[[int], NodeLayout],
    ) -> None:
        """Number the series of (layout, node) numbers, in the caller's transaction; forget() if it fails."""
        new = [(layout_id, node_id) for layout_id, node_id in layouts if layout_id not in self._known]
        if not new:
            return
        nodes = sorted({node_id for _, node_id in new})
        found: dict[tuple[int, SeriesKey], int] = {
            (node, SeriesKey(metric, domain, device, workload)): number
            for number, node, metric, domain, device, workload in connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM series WHERE list_contains($1, node_id)", [nodes]
            ).fetchall()
        }
        ((following,),) = connection.execute("SELECT coalesce(max(series_id) + 1, 0) FROM series").fetchall()
        made = []
        for layout_id, node_id in new:
            numbers = []
            for key in layout_of(layout_id).series:
                number = found.get((node_id, key))
                if number is None:
                    number = found[node_id, key] = following
                    following += 1
                    made.append((number, node_id, key.metric, key.domain, key.device, key.workload))
                numbers.append(number)
            self._known[layout_id] = np.array(numbers, dtype=np.int32)
        if made:
            rows = pa.table(dict(zip(_COLUMNS, (list(c) for c in zip(*made, strict=True)), strict=True)))
            connection.register("made_series", rows)
            connection.execute("INSERT INTO series BY NAME SELECT * FROM made_series")
            connection.unregister("made_series")

    def trim(self) -> None:
        """Forget the oldest beyond what is worth keeping."""
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Forget all; what was learnt last was not made durable."""
        self._known.clear()
