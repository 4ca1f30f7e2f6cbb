"""Who used and who held what of a node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import IDLE, SYSTEM
from joulebook.collector.ledger.stack import Stack, add_up

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Use:
    """What every account used and held in every tick; arrays are (reports, accounts, ticks).

    CPU in µs, memory in bytes, IO in bytes. What no workload owns is system's. workload_io_bytes is what each
    workload moved itself (workloads, ticks).
    """

    cpu_us: Ints
    memory_bytes: Ints
    io_bytes: Ints
    cpu_held_us: Ints
    memory_held_bytes: Ints
    workload_io_bytes: Ints


def exclusive(inclusive: Ints, parent: Ints) -> Ints:
    """Take from each workload (workloads, ticks) what its child workloads used; never below 0."""
    own = inclusive.copy()
    child = np.flatnonzero(parent >= 0)
    if len(child):
        np.subtract.at(own, parent[child], inclusive[child])
    return np.maximum(own, 0)


def to_accounts(own: Ints, slot: Ints, total: Ints, shape: tuple[int, int, int]) -> Ints:
    """Add workloads' own use up by account; what the node used beyond them (reports, ticks) is system's."""
    reports, accounts, ticks = shape
    use = add_up(own, slot, reports * accounts).reshape(reports, accounts, ticks)
    use[:, SYSTEM] += np.maximum(total - use.sum(axis=1), 0)
    return use


def hold(used: Ints, reserved: Ints, capacity: Ints) -> Ints:
    """Return what each account holds: the larger of reservation and use; the rest of capacity is idle's.

    used and reserved are (reports, accounts, ticks), capacity is (reports, ticks).
    """
    held = np.maximum(used, reserved)
    held[:, IDLE] = np.maximum(capacity - held.sum(axis=1), 0)
    return held


def use_of(stack: Stack, accounts: int) -> Use:
    """Work out what every account used and held."""
    shape = (len(stack.layouts), accounts, stack.interval_us.shape[1])
    count = stack.counts(lambda y: len(y.workload_account))
    report = np.repeat(np.arange(len(count)), count)
    slot = report * accounts + stack.join(lambda y: y.workload_account)
    parent = stack.places(lambda y: y.workload_parent, count)

    busy = stack.increments(stack.rows(lambda y: y.busy_row))
    cpu = exclusive(stack.increments(stack.rows(lambda y: y.workload_cpu_row)), parent)
    cpu_us = to_accounts(cpu, slot, busy, shape)

    used = stack.gauges(stack.rows(lambda y: y.memory_used_row))
    memory = exclusive(stack.gauges(stack.rows(lambda y: y.workload_memory_row)), parent)
    memory_bytes = to_accounts(memory, slot, used, shape)

    disks = stack.counts(lambda y: len(y.disk_io_rows))
    disk_report = np.repeat(np.arange(len(disks)), disks)
    moved = add_up(stack.increments(stack.rows(lambda y: y.disk_io_rows)), disk_report, shape[0])
    io = exclusive(stack.increments(stack.rows(lambda y: y.workload_io_row)), parent)
    io_bytes = to_accounts(io, slot, moved, shape)

    reserved_us = np.zeros(shape, dtype=np.int64)
    millicpus = stack.join(lambda y: y.workload_reserved_millicpus)
    if millicpus.any():
        each_us = millicpus[:, None] * stack.interval_us[report] // 1000
        reserved_us += add_up(each_us, slot, shape[0] * accounts).reshape(shape)
    each_bytes = stack.join(lambda y: y.workload_reserved_bytes)[:, None]
    reserved_bytes = add_up(each_bytes, slot, shape[0] * accounts).reshape(*shape[:2], 1)

    cpus = stack.counts(lambda y: y.logical_cpus)
    memory_size = stack.counts(lambda y: y.memory_bytes)
    return Use(
        cpu_us=cpu_us,
        memory_bytes=memory_bytes,
        io_bytes=io_bytes,
        cpu_held_us=hold(cpu_us, reserved_us, cpus[:, None] * stack.interval_us),
        memory_held_bytes=hold(
            memory_bytes,
            reserved_bytes,
            np.broadcast_to(memory_size[:, None], stack.interval_us.shape),
        ),
        workload_io_bytes=io,
    )
