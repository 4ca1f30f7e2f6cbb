"""What stores tell, in a shape that can be compared."""

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.store.protocol import Range, Store
from joulebook.v1.catalogue import by_name
from tests.simulated.cluster import JOB
from tests.simulated.delivery import EVER
from tests.simulated.node import WALL_US

RANGES = [EVER, Range(0, EVER.to_us, "n1"), Range(0, EVER.to_us, "n3"), Range(0, 1)] + [
    Range(WALL_US + from_s * 1_000_000, WALL_US + to_s * 1_000_000, node)
    for from_s, to_s in ((0, 10), (5, 25), (10, 30), (15, 20), (20, 40), (19, 21))
    for node in (None, "n1")
]


def edge(one: Edge) -> tuple[Any, ...]:
    """Return one end of a Report, to be compared."""
    booked = one.layout.domain_booked
    return (one.layout.node, one.layout.hash, one.at_us, one.energy_uj[booked].tolist())


def span(one: Span) -> tuple[Any, ...]:
    """Return a span, to be compared."""
    return (edge(one.start), edge(one.end), one.start_unix_us)


def tails(store: Store) -> dict[tuple[str, bytes], tuple[Any, ...]]:
    """Return the last span of every boot."""
    return {key: span(one) for key, one in store.tails().items()}


def raw(store: Store, selected: Range) -> list[Any]:
    """Return raw increments, in order."""
    return sorted(
        (r.layout.node, r.layout.hash, report.tolist())
        for r in store.raw_energy(selected)
        for report in r.energy_uj
    )


def gaps(store: Store, selected: Range) -> list[Any]:
    """Return both sides of every gap, in order."""
    return sorted((edge(a), edge(b)) for a, b in store.raw_gaps(selected))


def points(store: Store, selected: Range, metric: int, subject: str | None = None) -> list[Any]:
    """Return a metric's series."""
    return [
        (p.node, p.key, p.unix_us.tolist(), p.interval_us.tolist(), p.values.tolist())
        for p in store.points(selected, metric, subject)
    ]


# A counter and a gauge of each subject, and what no node sends.
METRICS = (
    "energy_uj",
    "idle_power_mw",
    "cpu_busy_us",
    "memory_used_bytes",
    "read_bytes",
    "cpu_us",
    "memory_bytes",
    "reads",
)

READS: dict[str, Callable[[Store, Range], Any]] = {
    "accounts": lambda s, r: [astuple(row) for row in s.accounts(r)],
    "booked": lambda s, r: dict(s.booked_uj(r)),
    "watched": lambda s, r: [astuple(row) for row in s.watched(r)],
    "raw_energy": raw,
    "raw_gaps": gaps,
    "summed": lambda s, r: astuple(s.summed(r, 1)),
    "totals": lambda s, _: [astuple(row) for row in s.totals(["idle", "unattributed", f"job:{JOB}"], EVER)],
    "by node": lambda s, _: s.energy_by_node(),
    "over_time_from": lambda s, r: sorted(
        s.energy_over_time(r.from_us, r.to_us, 7_000_003, r.node, r.from_us - 3_000_001)
    ),
    "over_time": lambda s, r: sorted(s.energy_over_time(r.from_us, r.to_us, 7_000_003, r.node)),
    "over_time_of_one_job": lambda s, r: sorted(
        s.energy_over_time(r.from_us, r.to_us, 7_000_003, r.node, None, 1)
    ),
    "points": lambda s, r: [points(s, r, by_name()[name].number) for name in METRICS],
}
