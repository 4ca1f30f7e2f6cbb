"""Pools: energy that is split by the same weights, and who used and held what of a node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.disks import DiskUse, disk_use_of
from joulebook.collector.ledger.domains import settle
from joulebook.collector.ledger.gpus import GpuUse, gpu_use_of
from joulebook.collector.ledger.idle import static_part_uj
from joulebook.collector.ledger.packages import PackageUse, package_use_of
from joulebook.collector.ledger.stack import Readings, Stack, add_up
from joulebook.collector.ledger.use import Use, use_of

Ints = npt.NDArray[np.int64]

# As many Reports of a kind are worth arrays of their own; as many ticks keep these within a core's cache.
_FEWEST_BESIDE, _TICKS_BESIDE = 16, 2_000


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools of stacked Reports. Energies are (pools, ticks) or (domains, ticks), in µJ.

    report has places of what is on top of each other, tier the places in TIERS of pools that are a tier's.
    floor is each domain's idle floor in mW. own is what is each domain's own, raised by how much each
    container was raised to its parts.
    """

    stack: Stack
    accounts: int
    domain_report: Ints
    domain_pool: Ints
    booked: npt.NDArray[np.bool_]
    own: Ints
    raised: Ints
    report: Ints
    class_: Ints
    tier: Ints
    static: Ints
    active: Ints
    floor: Ints
    use: Use
    gpus: GpuUse
    packages: PackageUse
    disks: DiskUse

    def beyond_uj(self) -> Ints:
        """Return what was drawn beyond the idle floor, negative where less was."""
        floor_uj = self.floor * self.stack.interval_us[self.domain_report] // 1000
        return self.active + self.static - add_up(floor_uj, self.domain_pool, len(self.static))


def groups_of(readings: Sequence[Readings]) -> Iterator[list[int]]:
    """Give places of Reports of as many ticks and about as many accounts: they share arrays without waste."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, r in enumerate(readings):
        groups[len(r.interval_us), len(r.layout.accounts).bit_length()].append(i)
    yield from groups.values()


def sides_of(readings: Sequence[Readings]) -> Iterator[list[list[int]]]:
    """Give places of Reports that share arrays, as a Stack takes them.

    Where many are of a kind of layout, they stand side by side: their ticks are the long axis. The others are
    on top of each other, as groups_of() tells.
    """
    kinds: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, r in enumerate(readings):
        kinds[len(r.interval_us), id(r.layout.kind)].append(i)
    others: list[int] = []
    for (ticks, _), members in kinds.items():
        if len(members) < _FEWEST_BESIDE:
            others += members
            continue
        step = max(1, _TICKS_BESIDE // ticks)
        yield from ([members[i : i + step]] for i in range(0, len(members), step))
    for group in groups_of([readings[i] for i in others]):
        yield [[others[i]] for i in group]


def pools_of(sides: Sequence[Sequence[Readings]]) -> Pools:
    """Settle the domains of Reports of as many ticks each, stacked as in Stack, and add them up by pool."""
    stack = Stack(sides)
    reports = len(sides)
    accounts = max(len(y.accounts) for y in stack.layouts)

    domains = stack.counts(lambda y: len(y.domain_names))
    domain_report = np.repeat(np.arange(reports), domains)
    booked = np.concatenate([y.domain_booked for y in stack.layouts])
    own, raised = settle(
        stack.increments(stack.rows(lambda y: y.energy_row)),
        stack.places(lambda y: y.domain_parent, domains),
        stack.join(lambda y: y.domain_depth),
        booked,
    )
    floor = stack.gauges(stack.rows(lambda y: y.idle_power_row))
    domain_static = static_part_uj(own, floor, stack.interval_us[domain_report])

    pools = stack.counts(lambda y: len(y.pool_class))
    domain_pool = stack.places(lambda y: y.domain_pool, pools)
    static = add_up(domain_static, domain_pool, int(pools.sum()))
    use = use_of(stack, accounts)
    return Pools(
        stack=stack,
        accounts=accounts,
        domain_report=domain_report,
        domain_pool=domain_pool,
        booked=booked,
        own=own,
        raised=raised,
        report=np.repeat(np.arange(reports), pools),
        class_=stack.join(lambda y: y.pool_class),
        tier=stack.join(lambda y: y.pool_tier),
        static=static,
        active=add_up(own, domain_pool, len(static)) - static,
        floor=floor,
        use=use,
        gpus=gpu_use_of(stack, accounts),
        packages=package_use_of(stack, use),
        disks=disk_use_of(stack, use, own - domain_static, domain_static),
    )
