"""The weights that energy is split by: who caused it, and who pays for idle floors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import CPU, GPU, MEMORY, NETWORK, PLATFORM, STORAGE
from joulebook.collector.ledger.gpus import GpuUse, gpu_active_weights, gpu_static_weights
from joulebook.collector.ledger.layout import IDLE, SYSTEM, UNATTRIBUTED
from joulebook.collector.ledger.packages import PackageUse
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.use import Use

Ints = npt.NDArray[np.int64]

# Where a class's active energy goes when nobody's use of it is known.
NOBODY = {CPU: IDLE, MEMORY: IDLE, GPU: UNATTRIBUTED, STORAGE: SYSTEM, NETWORK: SYSTEM, PLATFORM: IDLE}


def active_weights(use: Use, packages: PackageUse, gpus: GpuUse, pool_class: Ints, pool_report: Ints) -> Ints:
    """Return who caused each pool's active energy, (pools, accounts, ticks).

    Networks, and GPUs without a user, have no weights: the fallback decides. Disks of which it is told one
    by one who used them are split for themselves.
    """
    _, accounts, ticks = use.cpu_us.shape
    weight = np.zeros((len(pool_class), accounts, ticks), dtype=np.int64)
    for class_, used in ((MEMORY, use.memory_bytes), (STORAGE, use.io_bytes)):
        pools = pool_class == class_
        weight[pools] = used[pool_report[pools]]
    weight[packages.pools] = packages.weight
    weight[gpus.pools] = gpu_active_weights(gpus)
    return weight


def static_weights(
    use: Use, packages: PackageUse, gpus: GpuUse, policy: Policy, pool_class: Ints, pool_report: Ints
) -> Ints:
    """Return who pays for each pool's idle floor, (pools, accounts, ticks).

    Disks and networks belong to the node's capacity, which is held by its CPUs. A GPU that nobody holds or
    has processes on is idle's.
    """
    _, accounts, ticks = use.cpu_us.shape
    weight = np.zeros((len(pool_class), accounts, ticks), dtype=np.int64)
    if policy is Policy.NONE:
        return weight
    reserved = policy is Policy.RESERVED
    cpu = use.cpu_held_us if reserved else use.cpu_us
    memory = use.memory_held_bytes if reserved else use.memory_bytes
    for class_, paying in ((MEMORY, memory), (STORAGE, cpu), (NETWORK, cpu)):
        pools = pool_class == class_
        weight[pools] = paying[pool_report[pools]]
    weight[packages.pools] = packages.held_us if reserved else packages.cpu_us
    weight[gpus.pools] = gpu_static_weights(gpus, policy)
    return weight
