"""Who used and who held each CPU package, where cpusets tell which workload runs on which.

Without cpusets every package is used by all alike, and its CPU time is the node's. A workload that may run on
some packages has its CPU time there; what may run anywhere is taken to be where CPU time is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import CPU
from joulebook.collector.ledger.layout import SYSTEM
from joulebook.collector.ledger.stack import Stack, add_up
from joulebook.collector.ledger.use import Use, exclusive, hold

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Products of as many bits add up within 63, however many workloads a layout has.
_PRODUCT_BITS = 46


@dataclass(frozen=True, slots=True)
class PackageUse:
    """CPU time that every account used and held of each CPU pool, µs, (pools, accounts, ticks).

    pools are their places among all pools. weight is used CPU time weighted by what the agent learnt that a
    busy CPU of each account draws, µJ, where it did; error (pools, accounts, pieces) each share's deviation
    as a part of it, NaN: nothing was learnt of it, None: of none.
    """

    pools: Ints
    cpu_us: Ints
    held_us: Ints
    weight: Ints
    error: Floats | None


def package_use_of(stack: Stack, use: Use) -> PackageUse:
    """Work out who used and held each package, given who used the node."""
    pools = stack.counts(lambda y: len(y.pool_class))
    found = np.flatnonzero(stack.join(lambda y: y.pool_class) == CPU)
    report = np.repeat(np.arange(len(pools)), pools)[found]
    cpu_us, held_us = use.cpu_us[report], use.cpu_held_us[report]
    if any(len(y.confined_workload) for y in stack.layouts):
        _confine(stack, report, cpu_us, held_us)
    return PackageUse(found, cpu_us, held_us, *_weighted(stack, report, cpu_us))


def _weighted(stack: Stack, report: Ints, cpu_us: Ints) -> tuple[Ints, Floats | None]:
    """Return who caused what packages drew, and how far off each share may be."""
    accounts = cpu_us.shape[1]
    rows = stack.counts(lambda y: len(y.cpu_power_row))
    learnt = np.flatnonzero(rows)
    if not len(learnt):
        return cpu_us, None
    slot = np.concatenate([n * accounts + np.arange(rows[n]) for n in learnt.tolist()])
    power_row, error_row = stack.rows(lambda y: y.cpu_power_row), stack.rows(lambda y: y.cpu_power_error_row)
    is_job, has_error = (row < len(stack.values) - 1 for row in (power_row, error_row))
    others_mw = stack.gauges(stack.rows(lambda y: y.others_cpu_power_row))
    power_mw = np.repeat(others_mw[:, None], accounts, axis=1).reshape(len(others_mw) * accounts, -1)
    power_mw[slot[is_job]] = stack.gauges(power_row[is_job])
    known = np.repeat(others_mw > 0, accounts, axis=0)
    factor = np.where(known, np.maximum(power_mw, 1), 1000).reshape(len(others_mw), accounts, -1)[report]
    first = slice(None, None, stack.interval_us.shape[1] // stack.pieces)
    of_report = np.full((len(others_mw) * accounts, stack.pieces), np.nan)
    of_report[slot[has_error]] = stack.gauges(error_row[has_error])[:, first] * 1e-6
    of_report[~known[:, first]] = np.nan
    return _energy(cpu_us, factor), of_report.reshape(-1, accounts, stack.pieces)[report]


def _energy(cpu_us: Ints, power_mw: Ints) -> Ints:
    """Return their product in µJ, rounded up: who used something has a weight.

    Both are (pools, accounts, ticks). Where no CPUs used as much, all of a tick lose their lowest bits.
    """
    if float(cpu_us.max(initial=0)) * float(power_mw.max(initial=0)) >= 2.0 ** (_PRODUCT_BITS - 2):
        bits = sum(np.frexp(factor.max(axis=1).astype(np.float64))[1] for factor in (cpu_us, power_mw))
        cpu_us = cpu_us >> np.maximum(bits - _PRODUCT_BITS, 0)[:, None]
    return (cpu_us * power_mw + 999) // 1000


def _confine(stack: Stack, report: Ints, cpu_us: Ints, held_us: Ints) -> None:
    """Write the use of the packages of nodes with cpusets over that of the whole node.

    Pairs are the workloads of such nodes, each with every package that it may run on.
    """
    packages = stack.counts(lambda y: len(y.package_busy_row))
    workloads = stack.counts(lambda y: len(y.workload_account))
    busy_row = stack.rows(lambda y: y.package_busy_row)
    # Nothing is known of what is left where the node's packages are not told apart.
    is_told = busy_row < len(stack.values) - 1
    busy = stack.increments(busy_row)
    pair_workload = stack.places(lambda y: y.confined_workload, workloads)
    pair_package = stack.places(lambda y: y.confined_package, packages)
    account = stack.join(lambda y: y.workload_account)[pair_workload]
    own = exclusive(
        stack.increments(stack.rows(lambda y: y.workload_cpu_row)),
        stack.places(lambda y: y.workload_parent, workloads),
    )
    choices = np.bincount(pair_workload, minlength=len(own))[pair_workload]
    one = choices == 1
    placed = add_up(own[pair_workload[one]], pair_package[one], len(report))
    left = np.where(is_told[:, None], np.maximum(busy - placed, 0), 1)
    share = _shares(left[pair_package], pair_workload, len(own))
    cpu = np.rint(own[pair_workload] * share).astype(np.int64)

    on = np.isin(report, np.flatnonzero(stack.counts(lambda y: len(y.confined_workload))))
    cpu_us[on] = 0
    np.add.at(cpu_us, (pair_package, account), cpu)
    rest = np.maximum(np.where(is_told[:, None], busy, 0) - cpu_us.sum(axis=1), 0)
    cpu_us[on, SYSTEM] += rest[on]

    millicpus = stack.join(lambda y: y.workload_reserved_millicpus)[pair_workload]
    interval_us = stack.interval_us[report]
    reserved = np.zeros_like(held_us)
    each = millicpus[:, None] * interval_us[pair_package] // (1000 * choices[:, None])
    np.add.at(reserved, (pair_package, account), each)
    cpus = stack.counts(lambda y: y.logical_cpus)[report] / packages[report]
    capacity = np.rint(cpus[:, None] * interval_us).astype(np.int64)
    held_us[on] = hold(cpu_us, reserved, capacity)[on]


def _shares(weight: Ints, group: Ints, groups: int) -> Floats:
    """Return each row's part of its group's weight, (rows, ticks); equal parts of a group without any."""
    total = add_up(weight, group, groups)[group]
    equal = 1 / np.bincount(group, minlength=groups)[group]
    share: Floats = np.where(total > 0, weight / np.maximum(total, 1), equal[:, None])
    return share
