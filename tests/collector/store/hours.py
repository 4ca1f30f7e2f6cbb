"""Hours of some nodes as they come to a store: late, in any order, with gaps that open and are filled."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.store.duckdb.files import HOUR_US
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

NODES = ("n1", "n2", "n3")


def _history(rng: Random, name: str, reports: int) -> list[Decoded]:
    """Return so many Reports: short and long, jobs that come and go, restarts and stepped clocks."""
    node = SimulatedNode(name=name, boot=name.encode() * 8, memory_total=8 << 30)
    # In the evening, so that a day ends within.
    node.wall_us += 7 * HOUR_US + rng.randrange(0, 3_000_000_000)
    sent = []
    loads = [Load(f"slurm.{rng.randrange(4)}", cpu_us=1_500_000, user="ada")]
    node.begin(loads)
    for _ in range(reports):
        # From a second to what is too long for cells.
        length_us = rng.choice((1_000_000, 10_000_001, 60_000_000, 199_999_999, 700_000_000))
        for _ in range(rng.randrange(1, 4)):
            node.tick(length_us)
        sent.append(node.report())
        if rng.random() < 0.2:
            jobs = rng.sample(range(6), rng.randrange(3))
            loads = [Load(f"slurm.{job}", cpu_us=rng.randrange(4_000_000), user="ada") for job in jobs]
            node.begin(loads)
        if rng.random() < 0.1:
            node.tick(rng.choice((5_000_000, 2_000_000_000)))
            node.restart_agent()
        if rng.random() < 0.05:
            node.wall_us += rng.randrange(-900_000_000, 900_000_000)
    return decoded(node, sent)


def batches(rng: Random, reports: int = 26) -> Iterator[list[Decoded]]:
    """Give so many Reports of each node, some much later than they were due: gaps open and are filled."""
    due = []
    for name in NODES:
        for place, report in enumerate(_history(rng, name, reports)):
            late = rng.randrange(60) if rng.random() < 0.2 else 0
            due.append((place + late, name, place, report))
    due.sort(key=lambda one: one[:3])
    while due:
        count = rng.randrange(1, 16)
        yield [report for *_, report in due[:count]]
        del due[:count]
