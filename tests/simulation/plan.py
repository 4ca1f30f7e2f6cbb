"""What a seed decides before anything happens: how large the world is, and what it may suffer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulation.disk_use import TIER_OF_DISK
from tests.simulation.meters import LIMIT_MW, Part

# Of how many seeds one runs on a real DuckDB file, which costs more.
_REAL_STORE_EVERY = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed's world."""

    seed: int
    nodes: int
    collectors: int
    # transaction: one writer, all at once, as DuckDB; marks: shared, marks last, as InfluxDB; duckdb: itself.
    store: str
    parts: tuple[Part, ...]
    disks: tuple[str, ...]
    tick_s: float
    ticks_per_report: int
    length_s: float
    faults: int
    job_changes: float
    spool_bytes: int
    spool_age_s: int
    fsync_s: float
    memory_reports: int
    replay_per_s: float
    commit_interval_s: float
    queue_reports: int
    window: int
    clock_rates: tuple[float, ...]


def plan_of(seed: int) -> Plan:
    """Draw a seed's plan."""
    rng = Random(f"{seed} plan")
    store = "duckdb" if seed % _REAL_STORE_EVERY == 5 else rng.choice(["transaction", "marks", "marks"])
    # A counter that wraps within minutes, or, where the node is down for long, unseen.
    disks = _disks_of(seed)
    ranges = [LIMIT_MW // 1000 * 1_000_000 * s for s in (90, 300, 86_400)]
    shapes = [
        ("cpu.0",),
        ("cpu.0", "memory.0"),
        ("node", "cpu.0", "memory.0"),
        ("node", "cpu.0"),
    ]
    nodes = rng.choice([1, 1, 2, 3])
    tick_s = rng.choice([1.0, 2.0, 5.0])
    return Plan(
        seed=seed,
        nodes=nodes,
        collectors=2 if store == "marks" and rng.random() < 0.8 else 1,
        store=store,
        parts=tuple(
            Part(name, name != "memory.0", rng.choice(ranges) if name != "memory.0" else 0)
            for name in rng.choice(shapes)
        )
        + tuple(Part(f"disk.{name}", False, 0) for name in disks),
        disks=disks,
        tick_s=tick_s,
        ticks_per_report=rng.choice([1, 2, 3, 5]),
        length_s=tick_s * rng.choice([20, 40, 80]) / nodes**0.5,
        faults=rng.choice([0, 3, 6, 10, 15]),
        job_changes=rng.choice([0.0, 0.02, 0.2]),
        spool_bytes=rng.choice([1 << 20, 1 << 15, 1 << 13]),
        spool_age_s=rng.choice([604_800, 604_800, 120]),
        fsync_s=rng.choice([0.0, 2.0, 5.0]),
        memory_reports=rng.choice([3, 50]),
        replay_per_s=rng.choice([1.0, 10.0, 100.0]),
        commit_interval_s=rng.choice([0.0, 0.1, 1.0]),
        queue_reports=rng.choice([1, 4, 64]),
        window=rng.choice([1, 4, 256]),
        clock_rates=tuple(rng.choice([1.0, 1.0, 0.9999, 1.001]) for _ in range(nodes)),
    )


def _disks_of(seed: int) -> tuple[str, ...]:
    """Draw which disks a node's jobs use, of several tiers; half the worlds have none."""
    rng = Random(f"{seed} disks")
    return tuple(rng.sample(list(TIER_OF_DISK), rng.choice([0, 0, 1, 2, 3, 4])))
