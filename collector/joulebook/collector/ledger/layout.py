"""A node's layout as the ledger needs it: which rows of a Report hold what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import (
    CPU,
    GPU,
    MEMORY,
    NETWORK,
    PLATFORM,
    STORAGE,
    class_of,
)
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue
from joulebook.v1.containment import depths_of, parents_of

Ints = npt.NDArray[np.int64]

SYSTEM, AGENT, IDLE, UNATTRIBUTED = range(4)
FIXED_ACCOUNTS = ("system", "agent", "idle", "unattributed")
_FIXED_OF_KIND = {
    report_pb2.WORKLOAD_KIND_SYSTEM: SYSTEM,
    report_pb2.WORKLOAD_KIND_AGENT: AGENT,
}


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What a series is: the metric's number and the name of its subject."""

    metric: int
    domain: str = ""
    device: str = ""
    workload: str = ""


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


class NodeLayout:
    """A Layout, checked, with the row numbers that the ledger and the store work by.

    Rows count from 0; -1 stands for a series that the node does not send.
    """

    def __init__(self, hash_: int, message: report_pb2.Layout) -> None:
        self.hash = hash_
        self.message = message
        self.node = message.node
        self.session_us = message.session_us
        self.series = tuple(
            SeriesKey(
                metric,
                message.domains[d - 1].name if d else "",
                message.devices[v - 1].name if v else "",
                message.workloads[w - 1].id if w else "",
            )
            for metric, d, v, w in zip(
                message.series_metric,
                message.series_domain,
                message.series_device,
                message.series_workload,
                strict=True,
            )
        )
        entries = catalogue()
        self.is_counter = np.array([entries[s.metric].is_counter for s in self.series], dtype=bool)
        self.is_share = np.array([entries[s.metric].unit == "ppm" for s in self.series], dtype=bool)
        self._row = {key: i for i, key in enumerate(self.series)}

        self.domain_names = tuple(d.name for d in message.domains)
        self.domain_class = _ints([class_of(n) for n in self.domain_names])
        self.domain_parent = _ints(parents_of(self.domain_names))
        self.domain_depth = _ints(depths_of(self.domain_parent.tolist()))
        self.domain_accuracy_ppm = _ints([d.accuracy_ppm for d in message.domains])
        self.domain_resolution_uj = _ints([d.resolution_uj for d in message.domains])
        self.domain_modelled = np.array(
            [d.kind == report_pb2.SOURCE_KIND_MODEL for d in message.domains], dtype=bool
        )
        self.energy_row = self._domain_rows(metrics.METRIC_DOMAIN_ENERGY)
        self.unread_row = self._domain_rows(metrics.METRIC_DOMAIN_UNREAD)
        self.idle_power_row = self._domain_rows(metrics.METRIC_DOMAIN_IDLE_POWER)
        # A domain without energy is not in the books, whatever it is called.
        self.domain_booked = (self.domain_class >= 0) & (self.energy_row >= 0)

        # A pool is energy that is split by the same weights: one a class, and each GPU by itself.
        leaf = self.domain_booked & (self.domain_class != PLATFORM)
        is_gpu = leaf & (self.domain_class == GPU)
        keys = [(c, i if g else -1) for i, (c, g) in enumerate(zip(self.domain_class, is_gpu, strict=True))]
        pools = sorted({key for key, booked in zip(keys, leaf, strict=True) if booked})
        pool_of = {key: i for i, key in enumerate(pools)}
        self.pool_class = _ints([c for c, _ in pools])
        self.pool_gpu = _ints([gpu for _, gpu in pools])
        self.domain_pool = _ints([pool_of[k] if b else -1 for k, b in zip(keys, leaf, strict=True)])
        self.has_containers = bool((self.domain_booked & (self.domain_class == PLATFORM)).any())

        self.busy_row = self.row(SeriesKey(metrics.METRIC_NODE_CPU_BUSY))
        self.memory_used_row = self.row(SeriesKey(metrics.METRIC_NODE_MEMORY_USED))
        moved = (metrics.METRIC_DEVICE_READ, metrics.METRIC_DEVICE_WRITTEN)
        self.disk_io_rows = _ints([i for i, s in enumerate(self.series) if s.metric in moved])

        workloads = message.workloads
        jobs = sorted({w.id for w in workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB})
        self.accounts = FIXED_ACCOUNTS + tuple(f"job:{job}" for job in jobs)
        # Whose each job is, where it is known.
        self.users = {
            f"job:{w.id}": w.user for w in workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB and w.user
        }
        place = {job: len(FIXED_ACCOUNTS) + i for i, job in enumerate(jobs)}
        self.workload_account = _ints(
            [place[w.id] if w.id in place else _FIXED_OF_KIND[w.kind] for w in workloads]
        )
        self.workload_parent = _ints([w.parent - 1 for w in workloads])
        self.workload_cpu_row = self._workload_rows(metrics.METRIC_WORKLOAD_CPU)
        self.workload_memory_row = self._workload_rows(metrics.METRIC_WORKLOAD_MEMORY)
        self.workload_io_row = self._workload_rows(metrics.METRIC_WORKLOAD_IO)
        self.workload_reserved_millicpus = _ints([w.reserved_millicpus for w in workloads])
        self.workload_reserved_bytes = _ints([w.reserved_memory_bytes for w in workloads])
        self._place_gpus()
        self.logical_cpus = message.host.logical_cpus
        self.memory_bytes = message.host.memory_bytes

    def row(self, key: SeriesKey) -> int:
        """Return a series' row."""
        return self._row.get(key, -1)

    def _place_gpus(self) -> None:
        """Note the pools and accounts of GPUs' users and holders; a GPU without energy has no pool."""
        columns = zip(self.message.series_metric, self.message.series_domain, strict=True)
        rows = [
            i for i, (metric, _) in enumerate(columns) if metric == metrics.METRIC_WORKLOAD_GPU_UTILISATION
        ]
        users = [(self.message.series_domain[i] - 1, self.message.series_workload[i] - 1, i) for i in rows]
        users = [user for user in users if self.domain_pool[user[0]] >= 0]
        self.gpu_user_pool = _ints([int(self.domain_pool[d]) for d, _, _ in users])
        self.gpu_user_account = _ints([int(self.workload_account[w]) for _, w, _ in users])
        self.gpu_user_row = _ints([row for _, _, row in users])
        holders = [(d - 1, w) for w, workload in enumerate(self.message.workloads) for d in workload.gpu]
        holders = [holder for holder in holders if self.domain_pool[holder[0]] >= 0]
        self.gpu_holder_pool = _ints([int(self.domain_pool[d]) for d, _ in holders])
        self.gpu_holder_account = _ints([int(self.workload_account[w]) for _, w in holders])

    def _domain_rows(self, metric: int) -> Ints:
        return _ints([self.row(SeriesKey(metric, domain=n)) for n in self.domain_names])

    def _workload_rows(self, metric: int) -> Ints:
        return _ints([self.row(SeriesKey(metric, workload=w.id)) for w in self.message.workloads])

    @cached_property
    def serialized(self) -> bytes:
        """Return the Layout's bytes for the store."""
        return self.message.SerializeToString()


# Where a class's active energy goes when nobody's use of it is known.
NOBODY = {CPU: IDLE, MEMORY: IDLE, GPU: UNATTRIBUTED, STORAGE: SYSTEM, NETWORK: SYSTEM, PLATFORM: IDLE}
