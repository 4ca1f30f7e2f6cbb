"""Layouts are kept within bounds, and forgetting one costs no more than asking for it again."""

import pytest

from joulebook.collector.ingest.layouts import Layouts
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.v1.naming import layout_hash
from tests.simulated.node import Load, SimulatedNode


def _layouts(name: str, count: int) -> list[bytes]:
    node = SimulatedNode(name=name)
    for number in range(count):
        node.begin([Load(f"slurm.{number}")])
    return list(node.layouts.values())


def test_a_node_keeps_its_newest_layouts() -> None:
    """A node whose workloads come and go leaves no trail of layouts behind."""
    kept = Layouts()
    sent = _layouts("n1", 20)
    for serialized in sent:
        kept.add(serialized)
    known = [kept.get("n1", layout_hash(s)) is not None for s in sent]
    assert known == [False] * 16 + [True] * 4


def test_nodes_that_fell_silent_go_first() -> None:
    """With more nodes than there is room for, the one that sent a layout least lately is forgotten."""
    kept = Layouts(nodes=2)
    sent = {name: _layouts(name, 1)[0] for name in ("a", "b", "c")}
    for name in ("a", "b", "a", "c"):
        kept.add(sent[name])
    assert [kept.get(n, layout_hash(s)) is not None for n, s in sent.items()] == [True, False, True]


def test_a_layout_belongs_to_its_node() -> None:
    """A Report cannot use another node's layout."""
    kept = Layouts()
    (serialized,) = _layouts("n1", 1)
    kept.add(serialized)
    assert kept.get("n2", layout_hash(serialized)) is None


def test_a_refusal_is_remembered() -> None:
    """Whoever names a refused layout is told why it was refused."""
    kept = Layouts()
    with pytest.raises(RefusalError):
        kept.add(b"\xff")
    with pytest.raises(RefusalError, match="was refused: layout: not a"):
        kept.get("n1", layout_hash(b"\xff"))
