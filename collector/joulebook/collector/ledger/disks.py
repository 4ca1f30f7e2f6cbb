"""Who moved how much on each disk, where workloads tell of disks one by one.

What a workload moved in all beyond what it tells of disks (small amounts, sources that do not tell) is taken
to be where bytes are left over: on the disks that moved more than is told of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import SYSTEM, NodeLayout
from joulebook.collector.ledger.stack import Stack, add_up
from joulebook.collector.ledger.use import Use, exclusive

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What was moved and drawn on each disk, as the layout places them: few accounts use any one of them.

    pool is each disk's place among the pools, domain_disk each domain's among the disks. account
    (disks, places) has each at most once and in order, system first; moved (disks, places, ticks) is what
    each of them moved there, in bytes. active and floor are the disks' energies (disks, ticks), in µJ.
    """

    pool: Ints
    domain_disk: Ints
    account: Ints
    moved: Ints
    active: Ints
    floor: Ints


def disk_use_of(stack: Stack, use: Use, active: Ints, floor: Ints) -> DiskUse:
    """Work out what every account moved on each disk. active and floor are the domains' energies."""
    own = stack.counts(lambda y: len(y.disk_pool))
    disks, ticks = int(own.sum()), stack.interval_us.shape[1]
    domain_disk = stack.places(lambda y: y.domain_disk, own)
    pool = stack.places(lambda y: y.disk_pool, stack.counts(lambda y: len(y.pool_class)))
    if not disks:
        none = np.zeros((0, ticks), dtype=np.int64)
        return DiskUse(pool, domain_disk, np.zeros((0, 1), dtype=np.int64), none[:, None], none, none)
    account, moved = _moved(stack, use)
    load = stack.places(lambda y: y.disk_load, stack.counts(_loads))
    if not np.array_equal(load, np.arange(len(moved))):
        account, moved = account[load], moved[load]
    drawn, rested = (add_up(energy, domain_disk, disks) for energy in (active, floor))
    return DiskUse(pool, domain_disk, account, moved, drawn, rested)


def _moved(stack: Stack, use: Use) -> tuple[Ints, Ints]:
    """Return the accounts of each load, (loads, places), and what each moved (loads, places, ticks).

    A load is what was moved on a disk of which it is told, or on all others of a node.
    """
    reports, _, ticks = use.io_bytes.shape
    own = stack.counts(_loads)
    loads = int(own.sum())
    report = np.repeat(np.arange(reports), own)
    told, untold = _told(stack, use)
    pair_load = stack.places(lambda y: y.disk_pair_load, own)
    pair_account = stack.join(lambda y: y.workload_account)[_pair_workload(stack)]
    known = np.flatnonzero(pair_load >= 0)
    is_lost = np.asarray(untold.any(axis=2))
    is_user = is_lost[report]
    is_user[pair_load[known], pair_account[known]] = True
    is_user[:, SYSTEM] = True
    places = int(is_user.sum(axis=1).max())
    account = np.argsort(~is_user, axis=1, kind="stable")[:, :places]
    place = np.cumsum(is_user, axis=1) - 1
    cell = np.where(pair_load >= 0, pair_load * places + place[pair_load, pair_account], -1)
    moved = add_up(told, cell, loads * places).reshape(loads, places, ticks)

    row_load = stack.places(lambda y: y.disk_io_load, own)
    bytes_ = stack.increments(stack.rows(lambda y: y.disk_io_rows))
    seen = add_up(bytes_, row_load, loads)
    if is_lost.any():
        row_report = np.repeat(np.arange(reports), stack.counts(lambda y: len(y.disk_io_rows)))
        elsewhere = add_up(bytes_, np.where(row_load < 0, row_report, -1), reports)
        left = np.maximum(seen - moved.sum(axis=1), 0)
        room = add_up(left, report, reports) + elsewhere
        lost = untold.sum(axis=1)
        # What finds no room is on disks of which it is not told what they moved.
        is_seen = np.bincount(row_load[row_load >= 0], minlength=loads) > 0
        left = np.where(is_seen[:, None], left, np.maximum(lost - room, 0)[report])
        room = add_up(left, report, reports) + elsewhere
        share = left / np.maximum(np.maximum(room, lost), 1)[report]
        moved += np.rint(untold[report[:, None], account] * share[:, None]).astype(np.int64)
    moved[:, 0] += np.maximum(seen - moved.sum(axis=1), 0)
    return account, moved


def _loads(layout: NodeLayout) -> int:
    return int(layout.disk_load.max(initial=-1)) + 1


def _pair_workload(stack: Stack) -> Ints:
    return stack.places(lambda y: y.disk_pair_workload, stack.counts(lambda y: len(y.workload_account)))


def _told(stack: Stack, use: Use) -> tuple[Ints, Ints]:
    """Return bytes of each pair of a workload and a disk, without child workloads' (pairs, ticks).

    And what each account moved besides: (reports, accounts, ticks).
    """
    reports, accounts, ticks = use.io_bytes.shape
    pairs = stack.counts(lambda y: len(y.disk_pair_row))
    workloads = stack.counts(lambda y: len(y.workload_account))
    told = exclusive(
        stack.increments(stack.rows(lambda y: y.disk_pair_row)),
        stack.places(lambda y: y.disk_pair_parent, pairs),
    )
    in_all = use.workload_io_bytes
    untold = np.maximum(in_all - add_up(told, _pair_workload(stack), len(in_all)), 0)
    slot = np.repeat(np.arange(reports), workloads) * accounts + stack.join(lambda y: y.workload_account)
    slot = np.where(untold.any(axis=1), slot, -1)
    return told, add_up(untold, slot, reports * accounts).reshape(reports, accounts, ticks)
