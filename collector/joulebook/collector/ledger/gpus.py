"""Who used and who held each GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import IDLE
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.stack import Stack

_WHOLE_PPM = 1_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Weights of the pools that are GPUs, whose places are in pools: (gpus, accounts, ticks) each.

    used is what the driver says of processes; present counts the workloads that have processes on the GPU,
    held is what is reserved for them, in ppm of the GPU for each workload: a divided GPU is held in parts.
    """

    pools: Ints
    used: Ints
    present: Ints
    held: Ints


def gpu_use_of(stack: Stack, accounts: int) -> GpuUse:
    """Work out what every account used and held of each GPU."""
    count = stack.counts(lambda y: len(y.pool_class))
    pools = np.flatnonzero(stack.join(lambda y: y.pool_gpu) >= 0)
    shape = (len(pools), accounts, stack.interval_us.shape[1])
    used, present, held = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    if len(pools):
        pool = np.searchsorted(pools, stack.places(lambda y: y.gpu_user_pool, count))
        account = stack.join(lambda y: y.gpu_user_account)
        np.add.at(used, (pool, account), stack.gauges(stack.rows(lambda y: y.gpu_user_row)))
        np.add.at(present, (pool, account), 1)
        holder_pool = np.searchsorted(pools, stack.places(lambda y: y.gpu_holder_pool, count))
        holder_ppm = stack.join(lambda y: y.gpu_holder_ppm)[:, None]
        np.add.at(held, (holder_pool, stack.join(lambda y: y.gpu_holder_account)), holder_ppm)
    return GpuUse(pools, used, present, held)


def gpu_active_weights(use: GpuUse) -> Ints:
    """Return who caused each GPU's active energy, as far as it is known.

    By what the driver says of processes. Where it says nothing, or that all of them rest: the holders that
    have processes there, else the holders, both by what they hold; else whoever has processes there, in equal
    parts.
    """
    return _first_known(use.used, use.present * use.held, use.held, use.present)


def gpu_static_weights(use: GpuUse, policy: Policy) -> Ints:
    """Return who pays for each GPU's idle floor: its holders, and without one whoever has processes there.

    Of a GPU that is held in parts, the parts that nobody holds are idle.
    """
    if policy is Policy.NONE:
        return np.zeros_like(use.held)
    if policy is Policy.ACTIVE:
        return _first_known(use.used, use.present)
    held = use.held.copy()
    rest = _WHOLE_PPM - held.sum(axis=1)
    held[:, IDLE] += np.where(held.any(axis=1) & (rest > 0), rest, 0)
    return _first_known(held, use.present)


def _first_known(*weights: Ints) -> Ints:
    """Take in each tick the first weights that are not all 0."""
    chosen = weights[0]
    for weight in weights[1:]:
        chosen = np.where(chosen.any(axis=1, keepdims=True), chosen, weight)
    return chosen
