"""What is asked of the embedded store's nodes: their newest Reports, and how their sources are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.duckdb.book_parts import Marks
from joulebook.collector.store.protocol import NodeRow


class NodeReads:
    """The nodes' part of the reading half."""

    if TYPE_CHECKING:
        _added_up: bool

        def _ready(self) -> Marks: ...

        def _rows(
            self, query: str, parameters: list[Any] | dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]: ...

        def _layout(self, layout_id: int) -> NodeLayout: ...

        def _learn_layouts(self, layout_ids: Iterable[int]) -> None: ...

    def node_names(self) -> list[str]:
        """Return the name of every node."""
        return [name for (name,) in self._rows("SELECT node FROM nodes")]

    def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]:
        """Return every node, or those that are named, by name; how their sources are only where asked for."""
        minute_id = self._ready().minute_id
        own, parameters = "", []
        if named is not None:
            own = "SEMI JOIN (SELECT node_id FROM nodes WHERE node IN (SELECT unnest($1))) USING (node_id)"
            parameters = [list(named)]
        states: dict[int, dict[str, tuple[int, str, str]]] = defaultdict(dict)
        if sources:
            for node_id, name, *said in self._rows(
                f"SELECT node_id, name, state, reason, fix FROM source_states {own} ORDER BY name", parameters
            ):
                states[node_id][name] = (said[0], said[1], said[2])
        rows = self._rows(
            f"""
            SELECT node_id, node, layout_id, boot, end_unix_us FROM (
                SELECT node_id, unnest(arg_max(
                    struct_pack(layout_id, boot_id, end_unix_us), (end_unix_us, end_us)))
                FROM (SELECT node_id, layout_id, boot_id, end_unix_us, end_us FROM intervals
                      WHERE NOT is_gap AND interval_id >= {minute_id} UNION ALL
                      SELECT * FROM newest_reports WHERE {self._added_up}) {own}
                GROUP BY node_id)
            JOIN nodes USING (node_id) JOIN boots USING (boot_id) ORDER BY node
            """,
            parameters,
        )
        self._learn_layouts(row[2] for row in rows)
        return [NodeRow(n, self._layout(y), bytes(b), t, states.get(i, {})) for i, n, y, b, t in rows]
