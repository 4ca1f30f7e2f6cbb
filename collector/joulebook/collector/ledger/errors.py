"""What of every account's share is modelled, and how far off it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.pools import Pools
from joulebook.collector.ledger.uncertainty import DEVIATIONS, split_uj, step_variance_uj2, variance_uj2

# More than this is no figure any more: a counter's step or a meter's accuracy may be told as anything.
_MOST = 2.0**62

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


def errors_of(
    pools: Pools,
    cells: Ints,
    by_disk: Ints,
    split_error: Floats | None,
    held_uj: Ints | None = None,
) -> Ints:
    """Return what of each share was modelled, its systematic error in µJ and its variance in µJ².

    cells is (2, pools, accounts, pieces), the Reports' platforms being the last pools, by_disk has active
    shares of disks (disks, accounts, pieces), the result is (3, reports, accounts, pieces). split_error
    (pools but for platforms, accounts, pieces) has the deviation of active shares that are known, as a part
    of them; NaN for the others, None where all are. held_uj, of the same shape, is that of what was held by
    who was not there all the time.
    """
    stack, disks = pools.stack, pools.disks
    own_uj = stack.by_piece(pools.own)
    active, static = _disk_by_disk(pools, cells, by_disk)
    count, accounts, pieces = active.shape
    reports, kinds, apart = len(stack.layouts), len(pools.class_), len(disks.pool)
    cell_report = np.concatenate([pools.report, pools.report[disks.pool], np.arange(reports)])
    domain_cell = np.where(pools.domain_pool >= 0, pools.domain_pool, kinds + apart + pools.domain_report)
    domain_cell = np.where(disks.domain_disk >= 0, kinds + disks.domain_disk, domain_cell)

    def by_cell(values: Ints | Floats) -> Floats:
        # In the order of the domains, always: sums of floats depend on it.
        total = np.zeros((count, pieces))
        np.add.at(total, domain_cell, values)
        return total

    energy = np.maximum(by_cell(own_uj), 1.0)
    accuracy = by_cell(own_uj * stack.join(lambda y: y.domain_accuracy_ppm)[:, None] * 1e-6) / energy
    sampling_row = stack.rows(lambda y: y.sampling_row)
    if (sampling_row < len(stack.values) - 1).any():
        # Of what a gauge did not show nobody knows whose it was: it goes with everybody's share.
        sampling = stack.by_piece(stack.increments(sampling_row))
        accuracy = accuracy + by_cell(np.where(own_uj > 0, sampling, 0)) / energy
    is_modelled = np.concatenate([y.domain_modelled for y in stack.layouts])
    modelled = by_cell(own_uj * is_modelled[:, None]) / energy
    step = step_variance_uj2(stack.join(lambda y: y.domain_resolution_uj))
    variance = by_cell(step[:, None] * (own_uj > 0))

    booked = active + static
    of_meter = booked * accuracy[:, None]
    if split_error is not None:
        rest = ((0, count - len(split_error)), (0, 0), (0, 0))
        split_error = np.pad(split_error, rest, constant_values=np.nan)
    of_split = split_uj(active, split_error)

    def by_report(values: Floats) -> Floats:
        if reports == 1:
            return np.asarray(values.sum(axis=0))[None]
        total = np.zeros((reports, accounts, pieces))
        np.add.at(total, cell_report[: len(values)], values)
        return total

    systematic = by_report(of_meter + of_split)
    if split_error is not None:
        learnt = np.zeros((reports, 1, pieces), dtype=bool)
        np.logical_or.at(learnt, cell_report, ~np.isnan(split_error).all(axis=1, keepdims=True))
        # What a container has beyond its parts is its meter's less theirs, with all of that meter's error.
        of_container = np.array([y.has_containers for y in stack.layouts])
        whole = by_report(booked) * accuracy[-reports:, None]
        of_meter[-reports:][of_container] = whole[of_container]
        held = 0.0 if held_uj is None else by_report(DEVIATIONS * held_uj)
        joined = np.sqrt(by_report(of_meter**2) + by_report(of_split**2) + held**2)
        systematic = np.where(learnt, joined, systematic)
    of_model = by_report(booked * modelled[:, None])
    errors = [of_model, systematic, by_report(variance_uj2(booked, variance))]
    return np.rint(np.minimum(np.stack(errors), _MOST)).astype(np.int64)


def _disk_by_disk(pools: Pools, cells: Ints, by_disk: Ints) -> tuple[Floats, Floats]:
    """Return active and static shares with the disks' between the pools' and the platforms'.

    A tier's idle floor is split as one; each disk's part of it is everybody's alike.
    """
    kinds, disks = len(pools.class_), pools.disks
    if not len(disks.pool):
        return cells[0].astype(np.float64), cells[1].astype(np.float64)
    active, static = np.insert(cells.astype(np.float64), [kinds] * len(disks.pool), 0.0, axis=1)
    active[kinds : kinds + len(disks.pool)] = by_disk
    active[disks.pool] = 0.0
    part = pools.stack.by_piece(disks.floor) / np.maximum(pools.stack.by_piece(pools.static[disks.pool]), 1)
    static[kinds : kinds + len(disks.pool)] = static[disks.pool] * part[:, None]
    static[disks.pool] = 0.0
    return active, static
