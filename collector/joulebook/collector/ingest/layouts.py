"""The layouts that agents sent lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from joulebook.collector.ingest.decode import decode_layout
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.v1.naming import layout_hash

# Nodes whose layouts are kept, and how many of each: a Report comes with the newest, or a few behind it. What
# is not here any more is asked for again.
_NODES = 20_000
_OF_A_NODE = 4
_REFUSED = 1_000


class Layouts:
    """Layouts by node and hash, and why others were refused. Bounded, whatever is sent."""

    def __init__(self, nodes: int = _NODES) -> None:
        self._nodes = nodes
        self._known: OrderedDict[str, OrderedDict[int, NodeLayout]] = OrderedDict()
        self._refused: OrderedDict[int, RefusalError] = OrderedDict()

    def add(self, serialized: bytes) -> None:
        """Take a layout in. A refusal is remembered for the Reports that name it, and raised."""
        hash_ = layout_hash(serialized)
        try:
            layout = decode_layout(serialized)
        except RefusalError as refusal:
            self._refused[hash_] = refusal
            _trim(self._refused, _REFUSED)
            raise
        of_node = self._known.setdefault(layout.node, OrderedDict())
        of_node[hash_] = layout
        _trim(of_node, _OF_A_NODE)
        self._known.move_to_end(layout.node)
        _trim(self._known, self._nodes)

    def get(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout, None where it is not known, or raise why it was refused."""
        if refusal := self._refused.get(hash_):
            raise RefusalError(refusal.code, f"layout {hash_:016x} was refused: {refusal.message}")
        of_node = self._known.get(node)
        return of_node.get(hash_) if of_node else None


def _trim(items: OrderedDict[Any, Any], size: int) -> None:
    while len(items) > size:
        items.popitem(last=False)
