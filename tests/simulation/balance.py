"""The books at rest, against what the meters delivered and what the pure ledger makes of the same Reports."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.sequence import PlacedGap, span_of
from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.queries.audit import measured_uj, residuals_uj
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.protocol import Range
from joulebook.v1 import metrics_pb2 as m
from tests.simulation.duckdb_file import DuckDBFile
from tests.simulation.lateness import revisions_of
from tests.simulation.stored import Boot, Stored, rows_of

if TYPE_CHECKING:
    from tests.simulation.world import World

_EVER = Range(-(1 << 60), 1 << 62)
# A counter's two readings may each be a little off their time, as the ledger allows.
_SLACK_US = 200_000


@dataclass(slots=True)
class Balance:
    """What is in the books too little and too much, and what nobody can know."""

    lost_uj: int = 0
    twice_uj: int = 0
    booked_uj: int = 0
    unattributed_uj: int = 0
    unknowable_uj: int = 0


class Truth:
    """What a boot's meters delivered, by the boot clock, through the lives of its agents."""

    def __init__(self, world: World, boot: Boot) -> None:
        self._parts = world.plan.parts
        self._limit_mw = 400_000
        self._at: dict[int, tuple[int, tuple[int, ...]]] = {}
        for session, meter in enumerate(world.oracle.meters[boot]):
            for at_us, delivered in meter.readings.items():
                self._at[at_us] = (session, delivered)

    def drawn_uj(self, from_us: int, to_us: int) -> tuple[int, int]:
        """Return what is known to have been drawn, and what cannot be.

        A counter says what passed while its agent was dead, unless it may have wrapped unseen; a model that
        the dead agent kept says nothing.
        """
        (before, first), (after, last) = self._at[from_us], self._at[to_us]
        known: dict[str, int] = {}
        unknown: dict[str, int] = {}
        for part, a, b in zip(self._parts, first, last, strict=True):
            if before == after:
                known[part.name] = b - a
            elif part.counted:
                most_uj = self._limit_mw * (to_us - from_us + _SLACK_US) // 1000
                (known if most_uj < part.range_uj else unknown)[part.name] = b - a
        return _root(known), _root(known | unknown) - _root(known)


def _root(parts: dict[str, int]) -> int:
    inside = sum(uj for name, uj in parts.items() if name != "node")
    return max(parts.get("node", 0), inside)


def settle(world: World) -> Balance:
    """Compare; what is not as it must be becomes a problem of the oracle's."""
    balance = Balance()
    by_boot: dict[Boot, list[Stored]] = defaultdict(list)
    for one in world.store.stored():
        by_boot[one.boot].append(one)
    for own in by_boot.values():
        own.sort(key=lambda one: one.decoded.start_us)
    ordered = [one for boot in sorted(by_boot) for one in by_boot[boot]]
    pure = rows_of(book([one.decoded.readings for one in ordered]), len(ordered))
    for one, rows in zip(ordered, pure, strict=True):
        if one.rows != rows:
            world.oracle.problems.append(
                f"report {one.decoded.start_us} of {one.decoded.node} is not booked as alone"
            )
    world.oracle.problems += world.store.wrong
    for one in ordered:
        world.oracle.counts["late for a job"] += len(one.late)
        if idle := one.late - {account for account, _ in one.rows}:
            world.oracle.problems.append(f"{sorted(idle)} are revised by a Report that gives them nothing")
    _look_at_policies(world, ordered)
    gaps = [gap for boot in sorted(by_boot) for gap in _gaps(boot, by_boot[boot])]
    if isinstance(world.store, DuckDBFile):
        booked = _duckdb(world, world.store, ordered, gaps)
    else:
        if Counter(map(_key, gaps)) != Counter(map(_key, world.store.gaps())):
            world.oracle.problems.append("the booked gaps are not those between the stored reports")
        booked = _booked(ordered, list(world.store.gaps()))
    expected, balance.unknowable_uj = _expected(world, by_boot)
    for node in sorted(expected.keys() | {n for n, _ in booked}):
        uj = sum(v for (n, _), v in booked.items() if n == node)
        balance.lost_uj += max(0, expected[node] - uj)
        balance.twice_uj += max(0, uj - expected[node])
        balance.booked_uj += uj
        balance.unattributed_uj += booked.get((node, "unattributed"), 0)
        if uj != expected[node]:
            world.oracle.problems.append(f"{node}: {uj} µJ are booked, {expected[node]} µJ were delivered")
    return balance


def _look_at_policies(world: World, ordered: list[Stored]) -> None:
    """Look whether books balance whoever pays for idle floors, and what of it the Reports show."""
    readings = [one.decoded.readings for one in ordered]
    for policy in Policy:
        books = book(readings, policy)
        storage_uj = books.active_uj[:, STORAGE] + books.idle_uj[:, STORAGE]
        by_tier_uj = books.tier_uj.sum(axis=1)
        if books.residual_uj.any() or min(map(_least, (books.active_uj, books.idle_uj, books.tier_uj))) < 0:
            world.oracle.problems.append(f"books by {policy.value} do not balance")
        if (by_tier_uj > storage_uj).any():
            world.oracle.problems.append(f"books by {policy.value} have more of tiers than of storage")
    counts = world.oracle.counts
    for one in readings:
        metric, first = one.layout.metrics, one.values[:, 0]
        counts["told of powers"] += bool((first[metric == m.METRIC_WORKLOAD_CPU_POWER] > 0).any())
        tiers = one.layout.pool_tier[one.layout.disk_pool]
        counts["disks of several tiers"] += len(set(tiers.tolist())) > 1


def _least(figures: npt.NDArray[np.int64]) -> int:
    return int(figures.min(initial=0))


def _expected(world: World, by_boot: dict[Boot, list[Stored]]) -> tuple[Counter[str], int]:
    """Return what each node's meters delivered while it was watched or counted, and what nobody can know."""
    expected: Counter[str] = Counter()
    lost_uj = 0
    for boot, own in by_boot.items():
        truth = Truth(world, boot)
        for one in own:
            uj, _ = truth.drawn_uj(one.decoded.start_us, one.decoded.end_us)
            expected[boot[0]] += uj
        for before, after in pairwise(own):
            if before.decoded.end_us <= after.decoded.start_us:
                uj, unknowable_uj = truth.drawn_uj(before.decoded.end_us, after.decoded.start_us)
                expected[boot[0]] += uj
                lost_uj += unknowable_uj
    return expected, lost_uj


def _gaps(boot: Boot, own: list[Stored]) -> list[PlacedGap]:
    gaps = []
    for before, after in pairwise([span_of(one.decoded) for one in own]):
        gap = gap_between(before.end, after.start)
        if gap is not None:
            gaps.append(PlacedGap(*boot, gap, after.start_unix_us))
    return gaps


def _key(placed: PlacedGap) -> tuple[object, ...]:
    gap = placed.gap
    figures = (gap.start_us, gap.end_us, gap.by_class_uj.tobytes(), gap.raised_uj, gap.missing_ppm)
    return placed.node, placed.boot, placed.end_unix_us, figures


def _booked(ordered: list[Stored], gaps: list[PlacedGap]) -> dict[tuple[str, str], int]:
    """Return what accounts received, by node."""
    booked: Counter[tuple[str, str]] = Counter()
    for one in ordered:
        for account, figures in one.rows:
            booked[one.decoded.node, account] += sum(figures[:12])
    for placed in gaps:
        booked[placed.node, "unattributed"] += int(placed.gap.by_class_uj.sum())
    return booked


def _settled(ordered: list[Stored]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Give the rows that all Reports of a node's hour make together."""
    hours: dict[tuple[str, int], list[Stored]] = defaultdict(list)
    for one in ordered:
        hours[one.decoded.node, (_end_us(one) - 1) // HOUR_US].append(one)
    for (node, _), own in hours.items():
        own.sort(key=lambda one: (_end_us(one), one.boot[1], one.decoded.start_us))
        books = settled_books([one.decoded.readings for one in own], [one.decoded.start for one in own])
        for rows in rows_of(books, len(own)):
            for account, figures in rows:
                yield node, account, figures


def _end_us(one: Stored) -> int:
    return one.decoded.end_us + one.decoded.realtime_offset_us


def _duckdb(
    world: World, file: DuckDBFile, ordered: list[Stored], gaps: list[PlacedGap]
) -> dict[tuple[str, str], int]:
    """Return what a real store says, and check that it is the books of what was committed to it."""
    if file.store is None:
        world.oracle.problems.append("DuckDB's file is not open")
        return {}
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 18)
    world.oracle.problems += file.finish()
    for node, account, figures in _settled(ordered):
        own = sums[node, account]
        own[:] = [a + b for a, b in zip(own, figures, strict=True)]
    for placed in gaps:
        own = sums[placed.node, "unattributed"]
        for i, uj in enumerate(placed.gap.by_class_uj.tolist()):
            own[i] += uj
    found = {
        (a.node, a.account): [
            *a.active_uj,
            *a.idle_uj,
            *a.tier_uj,
            a.modelled_uj,
            a.systematic_uj,
            a.variance_uj2,
        ]
        for a in file.store.accounts(_EVER)
    }
    # Who received something before an hour was booked anew keeps a row.
    found = {key: value for key, value in found.items() if any(value)}
    if found != {key: value for key, value in sums.items() if any(value)}:
        world.oracle.problems.append("DuckDB's accounts are not the ledger of what was committed to it")
    read = measured_uj(file.store.raw_energy(_EVER), file.store.raw_gaps(_EVER))
    if +Counter(read) != +Counter(file.store.measured(_EVER).by_node):
        world.oracle.problems.append("DuckDB's raw readings are not what was added up of them")
    jobs = {job for one in ordered for job in one.decoded.readings.layout.jobs}
    raised = Counter({job: one.number for job, one in file.store.revisions(jobs).items()})
    raised.subtract(file.superseded())
    revisions = {job: number for job, number in raised.items() if number > 1}
    if revisions != revisions_of(ordered):
        world.oracle.problems.append(f"DuckDB's revisions are {revisions}, not those of what was committed")
    if off := residuals_uj(file.store, _EVER):
        world.oracle.problems.append(f"DuckDB's books do not balance: {off}")
    return {key: sum(value[:12]) for key, value in found.items()}
