"""Who moved how much on each disk, where workloads tell of disks one by one.

What a workload moved in all beyond what it tells of disks (small amounts, sources that do not tell) is taken
to be where bytes are left over: on the disks that moved more than is told of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import SYSTEM
from joulebook.collector.ledger.stack import Stack, add_up
from joulebook.collector.ledger.use import exclusive

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes that every account moved in the pools that are disks: (disks, accounts, ticks).

    pools are their places among all pools. Nodes of which it is not told disk by disk have none.
    """

    pools: Ints
    moved: Ints


def disk_use_of(stack: Stack, accounts: int) -> DiskUse:
    """Work out what every account moved on each disk."""
    reports, ticks = stack.interval_us.shape
    own = stack.counts(lambda y: len(y.disk_pools))
    count = stack.counts(lambda y: len(y.pool_class))
    pools = stack.places(lambda y: y.disk_pools, count)
    moved = np.zeros((len(pools), accounts, ticks), dtype=np.int64)
    if not len(pools):
        return DiskUse(pools, moved)
    report = np.repeat(np.arange(reports), own)
    told, untold = _told(stack, accounts)
    pair_pool = stack.places(lambda y: y.disk_pair_pool, count)
    pair_account = stack.join(lambda y: y.workload_account)[_pair_workload(stack)]
    in_pool = pair_pool >= 0
    np.add.at(moved, (np.searchsorted(pools, pair_pool[in_pool]), pair_account[in_pool]), told[in_pool])

    row_pool = stack.places(lambda y: y.disk_io_pool, count)
    row_disk = np.where(row_pool >= 0, np.searchsorted(pools, row_pool), -1)
    row_report = np.repeat(np.arange(reports), stack.counts(lambda y: len(y.disk_io_rows)))
    bytes_ = stack.increments(stack.rows(lambda y: y.disk_io_rows))
    seen = add_up(bytes_, row_disk, len(pools))
    elsewhere = add_up(bytes_, np.where(row_disk < 0, row_report, -1), reports)
    left = np.maximum(seen - moved.sum(axis=1), 0)
    room = add_up(left, report, reports) + elsewhere
    lost = untold.sum(axis=1)
    # What finds no room is on disks of which it is not told what they moved.
    is_seen = np.bincount(row_disk[row_disk >= 0], minlength=len(pools)) > 0
    left = np.where(is_seen[:, None], left, np.maximum(lost - room, 0)[report])
    room = add_up(left, report, reports) + elsewhere
    share = left / np.maximum(np.maximum(room, lost), 1)[report]
    moved += np.rint(untold[report] * share[:, None]).astype(np.int64)
    moved[:, SYSTEM] += np.maximum(seen - moved.sum(axis=1), 0)
    return DiskUse(pools, moved)


def _pair_workload(stack: Stack) -> Ints:
    return stack.places(lambda y: y.disk_pair_workload, stack.counts(lambda y: len(y.workload_account)))


def _told(stack: Stack, accounts: int) -> tuple[Ints, Ints]:
    """Return bytes of each pair of a workload and a disk, without child workloads' (pairs, ticks).

    And what each account moved besides: (reports, accounts, ticks).
    """
    reports, ticks = stack.interval_us.shape
    pairs = stack.counts(lambda y: len(y.disk_pair_row))
    workloads = stack.counts(lambda y: len(y.workload_account))
    told = exclusive(
        stack.increments(stack.rows(lambda y: y.disk_pair_row)),
        stack.places(lambda y: y.disk_pair_parent, pairs),
    )
    in_all = exclusive(
        stack.increments(stack.rows(lambda y: y.workload_io_row)),
        stack.places(lambda y: y.workload_parent, workloads),
    )
    untold = np.maximum(in_all - add_up(told, _pair_workload(stack), len(in_all)), 0)
    slot = np.repeat(np.arange(reports), workloads) * accounts + stack.join(lambda y: y.workload_account)
    return told, add_up(untold, slot, reports * accounts).reshape(reports, accounts, ticks)
