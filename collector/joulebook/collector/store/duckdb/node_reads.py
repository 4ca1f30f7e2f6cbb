"""What is asked of the embedded store's nodes: their newest Reports, and how their sources are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.book_parts import Marks
from joulebook.collector.store.duckdb.connected import among
from joulebook.collector.store.rows import NodeRow


class NodeReads:
    """The nodes' part of the reading half."""

    if TYPE_CHECKING:
        _added_up: bool

        def _ready(self) -> Marks: ...

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _columns(self, query: str, parameters: list[Any]) -> dict[str, Any]: ...

        def _numbered(self, table: str, names: Collection[str]) -> dict[int, str]: ...

        def _node_name(self, node_id: int) -> str: ...

        def _boots(self, boot_ids: Iterable[int]) -> dict[int, bytes]: ...

        def _layout(self, layout_id: int) -> NodeLayout: ...

        def _learn_layouts(self, layout_ids: Iterable[int]) -> None: ...

    def node_names(self) -> list[str]:
        """Return the name of every node."""
        return [name for (name,) in self._rows("SELECT node FROM nodes")]

    def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]:
        """Return every node, or those that are named, by name; how their sources are only where asked for."""
        own: tuple[str, list[Any]] = ("true", [])
        if named is not None:
            if not (numbers := self._numbered("node", named)):
                return []
            own = among("node_id", numbers)
        states: dict[int, dict[str, tuple[int, str, str]]] = defaultdict(dict)
        if sources:
            for node_id, name, *said in self._rows(
                f"SELECT node_id, name, state, reason, fix FROM source_states WHERE {own[0]} ORDER BY name",
                own[1],
            ):
                states[node_id][name] = (said[0], said[1], said[2])
        rows = self._newest(*own)
        self._learn_layouts(layout_id for _, layout_id, _, _ in rows)
        boots = self._boots({boot_id for _, _, boot_id, _ in rows})
        found = [
            NodeRow(self._node_name(i), self._layout(y), boots[b], t, states.get(i, {}))
            for i, y, b, t in rows
        ]
        return sorted(found, key=lambda row: row.node)

    def _newest(self, own: str, parameters: list[Any]) -> list[tuple[int, int, int, int]]:
        """Return (node_id, layout_id, boot_id, end_unix_us) of the newest Report of each of some nodes."""
        columns = "node_id, layout_id, boot_id, end_unix_us, end_us"
        rolled_up = f"UNION ALL SELECT {columns} FROM newest_reports WHERE {own}" if self._added_up else ""
        # In whole columns, of which the newest are found here: a plan that does takes four times as long.
        reports = self._columns(
            f"SELECT {columns} FROM intervals WHERE NOT is_gap "
            f"AND interval_id >= {self._ready().minute_id} AND {own} {rolled_up}",
            parameters,
        )
        order = np.lexsort((reports["end_us"], reports["end_unix_us"], reports["node_id"]))
        node_ids = reports["node_id"][order]
        last = order[np.flatnonzero(np.diff(node_ids, append=-1))]
        return list(zip(*(reports[name][last].tolist() for name in columns.split(", ")[:4]), strict=True))
