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
    depths_of,
    parents_of,
)
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue

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

        # One pool a class: energy that is split by the same weights.
        leaf = self.domain_booked & (self.domain_class != PLATFORM)
        self.pool_class = np.unique(self.domain_class[leaf])
        self.domain_pool = np.where(leaf, np.searchsorted(self.pool_class, self.domain_class), -1)
        self.has_containers = bool((self.domain_booked & (self.domain_class == PLATFORM)).any())

        self.busy_row = self._row.get(SeriesKey(metrics.METRIC_NODE_CPU_BUSY), -1)
        self.memory_used_row = self._row.get(SeriesKey(metrics.METRIC_NODE_MEMORY_USED), -1)
        moved = (metrics.METRIC_DEVICE_READ, metrics.METRIC_DEVICE_WRITTEN)
        self.disk_io_rows = _ints([i for i, s in enumerate(self.series) if s.metric in moved])

        workloads = message.workloads
        jobs = sorted({w.id for w in workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB})
        self.accounts = FIXED_ACCOUNTS + tuple(f"job:{job}" for job in jobs)
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
        self.logical_cpus = message.host.logical_cpus
        self.memory_bytes = message.host.memory_bytes

    def _domain_rows(self, metric: int) -> Ints:
        return _ints([self._row.get(SeriesKey(metric, domain=n), -1) for n in self.domain_names])

    def _workload_rows(self, metric: int) -> Ints:
        return _ints([self._row.get(SeriesKey(metric, workload=w.id), -1) for w in self.message.workloads])

    @cached_property
    def serialized(self) -> bytes:
        """Return the Layout's bytes for the store."""
        return self.message.SerializeToString()


# Where a class's active energy goes when nobody's use of it is known.
NOBODY = {CPU: IDLE, MEMORY: IDLE, GPU: UNATTRIBUTED, STORAGE: SYSTEM, NETWORK: SYSTEM, PLATFORM: IDLE}
