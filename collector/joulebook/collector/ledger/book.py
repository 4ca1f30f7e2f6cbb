"""Book Reports: from readings to what every account received, exact to the microjoule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.causes import Causes, moved_uj, put_causes, put_presence
from joulebook.collector.ledger.disks import DiskUse
from joulebook.collector.ledger.domains import CLASSES, NO_TIER, PLATFORM, TIERS, root_energy_uj
from joulebook.collector.ledger.errors import errors_of
from joulebook.collector.ledger.layout import IDLE
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.pools import Pools, pools_of, sides_of
from joulebook.collector.ledger.shares import NOBODY, active_weights, static_weights
from joulebook.collector.ledger.split import split
from joulebook.collector.ledger.stack import Readings, Stack, add_up

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Books:
    """Ledger rows, one for each report and account that received anything, ordered by both.

    active_uj and idle_uj are (rows, 6) by class; of storage's, both together, tier_uj (rows, 3) is what
    disks of each tier had. The last four have one entry a Report: what its meters
    delivered, by how much containers were raised to their parts, how long its worst meter gave nothing, and
    what the rows miss of the measured energy, which must be 0.
    """

    report: Ints
    account: list[str]
    active_uj: Ints
    idle_uj: Ints
    tier_uj: Ints
    modelled_uj: Ints
    systematic_uj: Ints
    variance_uj2: Ints
    measured_uj: Ints
    raised_uj: Ints
    unread_us: Ints
    residual_uj: Ints


def book(
    readings: Sequence[Readings],
    policy: Policy = Policy.RESERVED,
    causes: Sequence[Causes | None] | None = None,
) -> Books:
    """Book any number of Reports of any nodes. Pure: the same readings give the same rows, bit for bit.

    causes has, for each Report of which it was learnt, who caused its packages' active energy.
    """
    if not readings:
        return nothing()
    parts, places = [], []
    for sides in sides_of(readings):
        own = [i for side in sides for i in side]
        known = [causes[i] for i in own] if causes is not None else []
        parts.append(_book_group([[readings[i] for i in side] for side in sides], policy, known))
        places.append(own)
    return _ordered(parts, places, len(readings))


def nothing() -> Books:
    """Return books without a row."""
    none = np.zeros(0, dtype=np.int64)
    table = np.zeros((0, len(CLASSES)), dtype=np.int64)
    return Books(none, [], table, table, table[:, : len(TIERS)], none, none, none, none, none, none, none)


def _ordered(parts: list[Books], groups: list[list[int]], reports: int) -> Books:
    """Join the groups' books in the order of the Reports they were made from."""
    numbers = [np.array(group, dtype=np.int64) for group in groups]
    report = np.concatenate([n[p.report] for n, p in zip(numbers, parts, strict=True)])
    order = np.argsort(report, kind="stable")
    accounts = [account for part in parts for account in part.account]

    def rows(of: Callable[[Books], Ints]) -> Ints:
        return np.concatenate([of(part) for part in parts])[order]

    def each(of: Callable[[Books], Ints]) -> Ints:
        values = np.zeros(reports, dtype=np.int64)
        for number, part in zip(numbers, parts, strict=True):
            values[number] = of(part)
        return values

    return Books(
        report=report[order],
        account=[accounts[i] for i in order.tolist()],
        active_uj=rows(lambda b: b.active_uj),
        idle_uj=rows(lambda b: b.idle_uj),
        tier_uj=rows(lambda b: b.tier_uj),
        modelled_uj=rows(lambda b: b.modelled_uj),
        systematic_uj=rows(lambda b: b.systematic_uj),
        variance_uj2=rows(lambda b: b.variance_uj2),
        measured_uj=each(lambda b: b.measured_uj),
        raised_uj=each(lambda b: b.raised_uj),
        unread_us=each(lambda b: b.unread_us),
        residual_uj=each(lambda b: b.residual_uj),
    )


def _book_group(
    sides: Sequence[Sequence[Readings]], policy: Policy, causes: Sequence[Causes | None]
) -> Books:
    """Book Reports of as many ticks each, stacked as in Stack."""
    pools = pools_of(sides)
    stack, reports, accounts = pools.stack, len(sides), pools.accounts
    pieces = stack.pieces
    nobody = np.array([NOBODY[c] for c in pools.class_.tolist()], dtype=np.int64)
    weight = active_weights(pools.use, pools.packages, pools.gpus, pools.class_, pools.report)
    split_error = put_causes(weight, pools, causes)
    moved = moved_uj(pools, causes)
    amount = pools.active if moved is None else pools.active + moved
    active = split(_but_for_disks(amount, pools.disks), weight, nobody)
    idle_account = np.full(len(pools.class_), IDLE, dtype=np.int64)
    held = static_weights(pools.use, pools.packages, pools.gpus, policy, pools.class_, pools.report)
    part_error = put_presence(held, pools, causes)
    static = split(pools.static if moved is None else pools.static - moved, held, idle_account)

    # What every account got of every pool; the last pools are the Reports' platforms.
    cells = np.zeros((2, len(pools.class_) + reports, accounts, pieces), dtype=np.int64)
    of_disks = _split_disks(pools.disks)
    by_disk = _by_account(pools.disks, stack.by_piece(of_disks), accounts)
    cells[0, : len(pools.class_)] = stack.by_piece(active)
    cells[0, : len(pools.class_)] += add_up(by_disk, pools.disks.pool, len(pools.class_))
    cells[1, : len(pools.class_)] = stack.by_piece(static)
    if any(y.has_containers for y in stack.layouts):
        beyond = np.where((stack.join(lambda y: y.domain_class) == PLATFORM)[:, None], pools.own, 0)
        active += add_up(_by_account(pools.disks, of_disks, accounts), pools.disks.pool, len(pools.class_))
        platform = _platform(add_up(beyond, pools.domain_report, reports), active, static, pools.report)
        cells[:, len(pools.class_) :] = stack.by_piece(platform)
    cell_report = np.concatenate([pools.report, np.arange(reports)])
    cell_class = np.concatenate([pools.class_, np.full(reports, PLATFORM)])
    cell = cell_report * len(CLASSES) + cell_class
    table = np.stack([add_up(shares, cell, reports * len(CLASSES)) for shares in cells])
    # One entry a Report: (2, reports, pieces, accounts, classes).
    table = table.reshape(2, reports, len(CLASSES), accounts, pieces).transpose(0, 1, 4, 3, 2)
    tiers = _by_tier(pools, cells)

    held_error = None if part_error is None else stack.by_piece(np.rint(static * part_error).astype(np.int64))
    errors = errors_of(pools, cells, by_disk, split_error, held_error).transpose(0, 1, 3, 2)
    measured = _measured_uj(stack)
    unread = stack.increments(stack.rows(lambda y: y.unread_row))
    unread = np.where(pools.booked[:, None], unread, 0)
    worst_unread = np.zeros((reports, pieces), dtype=np.int64)
    np.maximum.at(worst_unread, pools.domain_report, stack.by_piece(unread))

    report, piece, account = np.nonzero(table.any(axis=(0, 4)))
    number = report * pieces + piece
    names = [r.layout.accounts for side in sides for r in side]
    return Books(
        report=number,
        account=[names[n][a] for n, a in zip(number.tolist(), account.tolist(), strict=True)],
        active_uj=table[0, report, piece, account],
        idle_uj=table[1, report, piece, account],
        tier_uj=tiers[report, piece, account],
        modelled_uj=errors[0, report, piece, account],
        systematic_uj=errors[1, report, piece, account],
        variance_uj2=errors[2, report, piece, account],
        measured_uj=measured.ravel(),
        raised_uj=stack.by_piece(add_up(pools.raised, pools.domain_report, reports)).ravel(),
        unread_us=worst_unread.ravel(),
        residual_uj=(measured - table.sum(axis=(0, 3, 4))).ravel(),
    )


def _but_for_disks(amount: Ints, disks: DiskUse) -> Ints:
    """Return what of each pool is split as a whole, and not disk by disk."""
    if not len(disks.pool):
        return amount
    amount = amount.copy()
    amount[disks.pool] = 0
    return amount


def _split_disks(disks: DiskUse) -> Ints:
    """Split each disk's active energy by who moved bytes there, (disks, places, ticks), else to system."""
    if not len(disks.pool):
        return disks.moved
    return split(disks.active, disks.moved, np.zeros(len(disks.pool), dtype=np.int64))


def _by_account(disks: DiskUse, shares: Ints, accounts: int) -> Ints:
    """Return shares of the few accounts of each disk as (disks, accounts, ticks)."""
    table = np.zeros((len(disks.pool), accounts, shares.shape[2]), dtype=np.int64)
    table[np.arange(len(table))[:, None], disks.account] = shares
    return table


def _by_tier(pools: Pools, cells: Ints) -> Ints:
    """Return what everybody had of disks of each tier: (reports, pieces, accounts, tiers)."""
    reports, tiers = len(pools.stack.layouts), len(TIERS)
    of_tier = np.flatnonzero(pools.tier != NO_TIER)
    both = cells[0, of_tier] + cells[1, of_tier]
    total = add_up(both, pools.report[of_tier] * tiers + pools.tier[of_tier], reports * tiers)
    return total.reshape(reports, tiers, *both.shape[1:]).transpose(0, 3, 2, 1)


def _platform(beyond: Ints, active: Ints, static: Ints, pool_report: Ints) -> Ints:
    """Split what containers measured beyond their parts in proportion to all that was booked otherwise.

    beyond is (reports, ticks), the shares (pools, accounts, ticks). Returns (2, reports, accounts, ticks).
    """
    reports, ticks = beyond.shape
    accounts = active.shape[1]
    load = np.stack([add_up(shares, pool_report, reports) for shares in (active, static)], axis=1)
    idle_cell = np.full(reports, accounts + IDLE, dtype=np.int64)
    cells = split(beyond, load.reshape(reports, 2 * accounts, ticks), idle_cell)
    return cells.reshape(reports, 2, accounts, ticks).transpose(1, 0, 2, 3)


def _measured_uj(stack: Stack) -> Ints:
    """Return what each Report's meters delivered, from the readings alone: (reports, pieces)."""
    drawn: Ints = np.zeros_like(stack.interval_us)
    for i, (layout, first) in enumerate(zip(stack.layouts, stack.first_row.tolist(), strict=True)):
        energy = stack.increments(first + layout.energy_row[layout.domain_booked])
        if layout.has_containers:
            names = [n for n, b in zip(layout.domain_names, layout.domain_booked, strict=True) if b]
            drawn[i] = root_energy_uj(energy, names)
        else:
            drawn[i] = energy.sum(axis=0)
    return stack.by_piece(drawn)
