"""Flow control from the store to the meter: who cannot write is sent no more, and nothing is lost by it."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.stream import WINDOW
from joulebook.collector.ingest.decode import Decoded
from tests.simulation.mutations import Mutation
from tests.simulation.network import CAPACITY
from tests.simulation.plan import plan_of
from tests.simulation.world import World

_BLOCKED_S, _FREE_S = 20.0, 240.0
_QUEUE, _WINDOW = 4, 8


class _Blocks(Mutation):
    """Lets no commit come through for a time."""

    blocked = False

    def store(self, opened: Any) -> Any:
        write = opened.commit

        def commit(what: Any) -> None:
            while self.blocked:
                opened._shared.loop.pause(1.0)
            write(what)

        opened.commit = commit
        return opened


def _decoded() -> int:
    """Return how many Reports there are in memory as a collector takes them."""
    return sum(isinstance(one, Decoded) for one in gc.get_objects())


@pytest.mark.parametrize("kind", ["transaction", "marks"])
def test_a_store_that_blocks(kind: str, tmp_path: Path) -> None:
    """Acknowledgements stop, the collector holds few Reports, spools fill; then all is booked once."""
    plan = replace(
        plan_of(0),
        nodes=2,
        collectors=1,
        store=kind,
        tick_s=1.0,
        ticks_per_report=1,
        length_s=_FREE_S + 50,
        faults=0,
        spool_bytes=1 << 24,
        spool_age_s=604_800,
        queue_reports=_QUEUE,
        window=_WINDOW,
        clock_rates=(1.0, 1.0),
    )
    gc.collect()
    before, blocks = _decoded(), _Blocks()
    world = World(plan, blocks, tmp_path)
    seen: list[tuple[int, int, int, int]] = []

    def block() -> None:
        blocks.blocked = True

    def look() -> None:
        spooled = min(len(node.agent.spool) for node in world.nodes if node.agent and node.agent.spool)
        pipes = max(
            max(c.up._load, c.down._load) for link in world.network.links.values() for c in link.connections
        )
        held = _decoded() - before - len(world.store.stored())
        seen.append((world.oracle.counts["answer 0"], held, spooled, pipes))

    def free() -> None:
        look()
        blocks.blocked = False

    try:
        world.after(_BLOCKED_S, block)
        for at_s in range(30, int(_FREE_S), 45):
            world.after(at_s, look)
        world.after(_FREE_S, free)
        outcome = world.run()
    finally:
        world.loop.end()
    acks, held, spooled, pipes = (list(column) for column in zip(*seen, strict=True))
    assert acks[0] == acks[-1] > 10
    # What is committed, what waits for it, and what each agent's stream has handed in.
    assert max(held) <= _QUEUE + len(world.nodes) * (_QUEUE + _WINDOW + WINDOW)
    assert max(held[len(held) // 2 :]) <= max(held[: len(held) // 2]) + _WINDOW
    assert max(pipes) <= CAPACITY
    assert spooled == sorted(spooled)
    assert spooled[-1] > 200
    assert outcome.problems == []
    assert (outcome.balance.lost_uj, outcome.balance.twice_uj) == (0, 0)
    assert outcome.counts["stored"] == outcome.counts["reports"]
