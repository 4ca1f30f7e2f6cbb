"""Booked energy with all that is said about it: by domain, ± and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.collector.ledger.domains import CLASSES, TIERS
from joulebook.collector.ledger.uncertainty import plus_minus_uj
from joulebook.collector.store.rows import AccountRow


@dataclass(frozen=True, slots=True)
class ByDomain:
    """µJ by class of domain."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    storage: int = 0
    network: int = 0
    platform: int = 0


@dataclass(frozen=True, slots=True)
class ByTier:
    """µJ of storage by tier of disks; other is what is of no known tier. Together they are the class."""

    nvme: int = 0
    ssd: int = 0
    hdd: int = 0
    other: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a figure came to be known, as shares that add up to 1.

    missing: of nodes, time in which nobody read meters; of a job, time in which nothing was booked to it,
    for that or because it rested where that costs nothing: no row is kept of who received nothing.
    """

    measured: float
    modelled: float
    missing: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over some rows of the ledger."""

    energy_uj: int
    active_uj: int
    idle_uj: int
    by_domain: ByDomain
    active_by_domain: ByDomain
    storage_by_tier: ByTier
    plus_minus_uj: int
    modelled_uj: int

    @classmethod
    def of(cls, rows: Sequence[AccountRow]) -> Figures:
        """Add rows up: systematic errors linearly, random ones in quadrature."""
        active = _added([row.active_uj for row in rows])
        idle = _added([row.idle_uj for row in rows])
        nvme, ssd, hdd = (sum(row.tier_uj[i] for row in rows) for i in range(len(TIERS)))
        both = {name: a + i for name, a, i in zip(CLASSES, active, idle, strict=True)}
        return cls(
            energy_uj=sum(active) + sum(idle),
            active_uj=sum(active),
            idle_uj=sum(idle),
            by_domain=ByDomain(**both),
            active_by_domain=ByDomain(*active),
            storage_by_tier=ByTier(nvme, ssd, hdd, both["storage"] - nvme - ssd - hdd),
            plus_minus_uj=plus_minus_uj(
                sum(row.systematic_uj for row in rows), sum(row.variance_uj2 for row in rows)
            ),
            modelled_uj=sum(row.modelled_uj for row in rows),
        )


def _added(rows: Sequence[Sequence[int]]) -> Sequence[int]:
    """Add up by class; most lists have one row for each of their items."""
    if len(rows) == 1:
        return rows[0]
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * len(CLASSES)


def coverage(energy_uj: int, modelled_uj: int, known_us: int, total_us: int) -> Coverage:
    """Return shares: what is missing of the time, and how the rest was come by, in proportion to energy.

    Of no time at all everything is missing.
    """
    known = min(1.0, known_us / total_us) if total_us > 0 else 0.0
    modelled = known * min(1.0, modelled_uj / energy_uj) if energy_uj > 0 else 0.0
    return Coverage(measured=known - modelled, modelled=modelled, missing=1.0 - known)
