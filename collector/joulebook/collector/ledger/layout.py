"""A node's layout as the ledger needs it: which rows of a Report hold what."""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.device_places import DevicePlaces
from joulebook.collector.ledger.domains import (
    CPU,
    GPU,
    NO_TIER,
    PLATFORM,
    STORAGE,
    class_of,
    tiers_of,
)
from joulebook.collector.ledger.series_rows import SeriesKey
from joulebook.collector.ledger.shared import kind_of_arrays, share, shared_ints
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.containment import depths_of, parents_of
from joulebook.v1.naming import job_of

Ints = npt.NDArray[np.int64]

SYSTEM, AGENT, IDLE, UNATTRIBUTED = range(4)
FIXED_ACCOUNTS = ("system", "agent", "idle", "unattributed")
_FIXED_OF_KIND = {
    report_pb2.WORKLOAD_KIND_SYSTEM: SYSTEM,
    report_pb2.WORKLOAD_KIND_AGENT: AGENT,
}


class NodeLayout(DevicePlaces):
    """A Layout, checked, with the row numbers that the ledger and the store work by.

    Rows count from 0; -1 stands for a series that the node does not send. One is kept for each node, so it
    holds no object a series: `message` and `series` are made anew whenever they are asked for.
    """

    def __init__(self, hash_: int, message: report_pb2.Layout, serialized: bytes = b"") -> None:
        super().__init__(message)
        self.hash = hash_
        self.serialized = serialized or message.SerializeToString()
        self.node = message.node
        self.session_us = message.session_us
        self.domain_names = tuple(intern(d.name) for d in message.domains)
        self.domain_class = shared_ints([class_of(n) for n in self.domain_names])
        self.domain_accuracy_ppm = shared_ints([d.accuracy_ppm for d in message.domains])
        self.domain_resolution_uj = shared_ints([d.resolution_uj for d in message.domains])
        modelled = [d.kind == report_pb2.SOURCE_KIND_MODEL for d in message.domains]
        self.domain_modelled = share(np.array(modelled, dtype=bool))
        self.energy_row = self._domain_rows(metrics.METRIC_DOMAIN_ENERGY)
        self.unread_row = self._domain_rows(metrics.METRIC_DOMAIN_UNREAD)
        self.idle_power_row = self._domain_rows(metrics.METRIC_DOMAIN_IDLE_POWER)
        self.sampling_row = self._domain_rows(metrics.METRIC_DOMAIN_SAMPLING)
        # A domain without energy is not in the books, whatever it is called.
        self.domain_booked = share((self.domain_class >= 0) & (self.energy_row >= 0))
        booked = zip(self.domain_names, self.domain_booked.tolist(), strict=True)
        self.domain_parent = shared_ints(parents_of([name if has else "" for name, has in booked]))
        self.domain_depth = shared_ints(depths_of(self.domain_parent.tolist()))

        packages = np.flatnonzero(self.domain_booked & (self.domain_class == CPU)).tolist()
        may_run_on = _cpusets(message.workloads, packages)
        told = np.unique(self._domain[self._metric == metrics.METRIC_WORKLOAD_DISK_IO]) - 1
        self._place_pools(tiers_of(message), packages_apart=bool(may_run_on))
        self.has_containers = bool((self.domain_booked & (self.domain_class == PLATFORM)).any())

        self.busy_row = self._node_row(metrics.METRIC_NODE_CPU_BUSY)
        self.memory_used_row = self._node_row(metrics.METRIC_NODE_MEMORY_USED)
        moved = (metrics.METRIC_DEVICE_READ, metrics.METRIC_DEVICE_WRITTEN)
        self.disk_io_rows = shared_ints(np.flatnonzero(np.isin(self._metric, moved)))
        self._place_workloads(message.workloads)
        self._place_disks(message, told)
        # When what is there of each job began, the last of it, in unix µs; 0: it is not known.
        self.job_starts: dict[str, int] = {}
        for w in message.workloads:
            if w.kind == report_pb2.WORKLOAD_KIND_JOB:
                self.job_starts[job_of(w)] = max(w.start_unix_us, self.job_starts.get(job_of(w), 0))
        self._place_gpus(message.workloads)
        self._place_packages(message, packages, may_run_on)
        self.logical_cpus = message.host.logical_cpus
        self.memory_bytes = message.host.memory_bytes
        arrays = [value for value in self.__dict__.values() if isinstance(value, np.ndarray)]
        key = (self.domain_names, self.logical_cpus, self.memory_bytes, len(self.accounts))
        self.kind = kind_of_arrays(key, arrays)

    @property
    def message(self) -> report_pb2.Layout:
        """Return the Layout itself."""
        return report_pb2.Layout.FromString(self.serialized)

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        """Return what each row is."""
        message = self.message
        domains = ("", *self.domain_names)
        devices = ("", *(device.name for device in message.devices))
        workloads = ("", *(workload.id for workload in message.workloads))
        columns = (self._metric, self._domain, self._device, self._workload)
        return tuple(
            SeriesKey(metric, domains[d], devices[v], workloads[w])
            for metric, d, v, w in zip(*(column.tolist() for column in columns), strict=True)
        )

    @property
    def jobs(self) -> list[str]:
        """Return the jobs that are on the node."""
        return [account.removeprefix("job:") for account in self.accounts[len(FIXED_ACCOUNTS) :]]

    def device_rows(self, metric: int, names: Sequence[str]) -> Ints:
        """Return the rows of a metric of devices."""
        places = {device.name: i for i, device in enumerate(self.message.devices, start=1)}
        rows = dict(self._places(metric, self._device))
        return shared_ints([rows.get(places.get(name, 0), -1) for name in names])

    def gpu_users(self) -> set[tuple[int, int]]:
        """Return the places of domains and workloads, where processes of the one are on the other."""
        rows = self._metric == metrics.METRIC_WORKLOAD_GPU_UTILISATION
        return set(zip((self._domain[rows] - 1).tolist(), (self._workload[rows] - 1).tolist(), strict=True))

    def _place_pools(self, tier: Sequence[int], *, packages_apart: bool) -> None:
        """Note the pools, and which of them each domain is in.

        A pool is energy that is split by the same weights: one a class, each GPU by itself, each CPU package
        where cpusets tell who runs on it, and each tier of disks, whose idle floors are split alike.
        """
        leaf = self.domain_booked & (self.domain_class != PLATFORM)
        by_itself = np.isin(self.domain_class, (CPU, GPU) if packages_apart else (GPU,)).tolist()
        keys = [
            (c, tier[i] if c == STORAGE else i if by_itself[i] else -1)
            for i, c in enumerate(self.domain_class.tolist())
        ]
        pools = sorted({key for key, booked in zip(keys, leaf.tolist(), strict=True) if booked})
        pool_of = {key: i for i, key in enumerate(pools)}
        self.pool_class = shared_ints([c for c, _ in pools])
        self.pool_gpu = shared_ints([domain if c == GPU else -1 for c, domain in pools])
        self.pool_tier = shared_ints([tier if c == STORAGE else NO_TIER for c, tier in pools])
        places = [pool_of[k] if b else -1 for k, b in zip(keys, leaf.tolist(), strict=True)]
        self.domain_pool = shared_ints(places)

    def _place_workloads(self, workloads: Sequence[report_pb2.Workload]) -> None:
        """Note what each workload reads by, and the account that it is booked to."""
        jobs = sorted({job_of(w) for w in workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB})
        self.accounts = FIXED_ACCOUNTS + tuple(intern(f"job:{job}") for job in jobs)
        # Whose each job is, where it is known.
        self.users = {
            intern(f"job:{job_of(w)}"): intern(w.user)
            for w in workloads
            if w.kind == report_pb2.WORKLOAD_KIND_JOB and w.user
        }
        place = {job: len(FIXED_ACCOUNTS) + i for i, job in enumerate(jobs)}
        self.workload_account = shared_ints(
            [
                place[job_of(w)] if w.kind == report_pb2.WORKLOAD_KIND_JOB else _FIXED_OF_KIND[w.kind]
                for w in workloads
            ]
        )
        self.workload_parent = shared_ints([w.parent - 1 for w in workloads])
        self.workload_cpu_row = self._workload_rows(metrics.METRIC_WORKLOAD_CPU)
        # What a busy CPU of each account draws, and how far off its share may be.
        told = (self._metric == metrics.METRIC_WORKLOAD_CPU_POWER).any()
        self.cpu_power_row, self.cpu_power_error_row = (
            self._account_rows(metric, len(self.accounts) if told else 0)
            for metric in (metrics.METRIC_WORKLOAD_CPU_POWER, metrics.METRIC_WORKLOAD_CPU_POWER_ERROR)
        )
        self.others_cpu_power_row = self._node_row(metrics.METRIC_NODE_OTHERS_CPU_POWER)
        self.workload_memory_row = self._workload_rows(metrics.METRIC_WORKLOAD_MEMORY)
        self.workload_io_row = self._workload_rows(metrics.METRIC_WORKLOAD_IO)
        self.workload_reserved_millicpus = shared_ints([w.reserved_millicpus for w in workloads])
        self.workload_reserved_bytes = shared_ints([w.reserved_memory_bytes for w in workloads])

    def _domain_rows(self, metric: int) -> Ints:
        return self._rows(metric, self._domain, len(self.domain_names))

    def _workload_rows(self, metric: int) -> Ints:
        return self._rows(metric, self._workload, len(self.workload_account))

    def _account_rows(self, metric: int, accounts: int) -> Ints:
        """Return the row of a metric of workloads of each account, or of none of them."""
        found = np.full(accounts, -1, dtype=np.int64)
        if accounts:
            rows = np.flatnonzero(self._metric == metric)
            found[self.workload_account[self._workload[rows] - 1]] = rows
        return shared_ints(found)


def _cpusets(workloads: Sequence[report_pb2.Workload], packages: Sequence[int]) -> list[list[int]]:
    """Return for each workload the packages that it may run on; nothing where no cpuset tells any apart."""
    place = {domain: i for i, domain in enumerate(packages)}
    everywhere = list(place.values())
    may = [[place[d - 1] for d in w.cpu_domain if d - 1 in place] or everywhere for w in workloads]
    return may if any(len(on) < len(packages) for on in may) else []
