"""What of a node there is to judge: the GPUs and CPUs that jobs hold, and the node itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.alerts.alert import Key
from joulebook.collector.alerts.names import CPU_HELD_IDLE, GPU_HELD_IDLE, NODE_UNALLOCATED
from joulebook.collector.ledger.domains import CPU
from joulebook.collector.ledger.layout import NodeLayout, SeriesKey
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]


class Subjects:
    """The subjects of a layout, in columns: places of their readings in a Report's values, -1 for none."""

    def __init__(self, layout: NodeLayout, watched: Container[str]) -> None:
        self._place = ("node", layout.node)
        jobs = [w for w in layout.message.workloads if w.kind == report_pb2.WORKLOAD_KIND_JOB]
        self.users = {w.id: w.user for w in jobs if w.user}
        self.gpus = HeldGpus(layout, jobs if GPU_HELD_IDLE in watched or CPU_HELD_IDLE in watched else [])
        self.gpu_keys = [
            [self._key(GPU_HELD_IDLE, gpu=gpu, job=job) for job in own if GPU_HELD_IDLE in watched]
            for gpu, own in zip(self.gpus.names, self.gpus.jobs, strict=True)
        ]
        self.cpus = HeldCpus(layout, jobs if CPU_HELD_IDLE in watched else [])
        self.cpu_keys = [self._key(CPU_HELD_IDLE, job=job) for job in self.cpus.jobs]
        self.unallocated = self._key(NODE_UNALLOCATED)
        self.is_unallocated = NODE_UNALLOCATED in watched and not jobs
        self.known = frozenset([self.unallocated, *self.cpu_keys, *(k for own in self.gpu_keys for k in own)])

    def _key(self, rule: str, **subject: str) -> Key:
        return Key(rule, tuple(sorted([*subject.items(), self._place])))


class HeldGpus:
    """GPUs that jobs hold, and by whom: as in the ledger, who has processes there if none is known."""

    def __init__(self, layout: NodeLayout, jobs: Sequence[report_pb2.Workload]) -> None:
        holders: dict[int, set[str]] = defaultdict(set)
        for workload in layout.message.workloads:
            for place in workload.gpu:
                holders[place - 1].add(workload.id)
        users: dict[int, set[str]] = defaultdict(set)
        for series in layout.series:
            if series.metric == metrics.METRIC_WORKLOAD_GPU_UTILISATION:
                users[layout.domain_names.index(series.domain)].add(series.workload)
        named = {job.id for job in jobs}
        by_place = {place: own for place, own in sorted((users | holders).items()) if own & named}
        held = [place for place in by_place if layout.energy_row[place] >= 0]
        limits = {device.name: device.power_limit_mw for device in layout.message.devices}
        self.names = [layout.domain_names[place] for place in held]
        self.jobs = [sorted(by_place[place] & named) for place in held]
        # Those who share what it draws: the system's own processes may be there too.
        self.sharers = [len(by_place[place]) for place in held]
        self.energy_row = layout.energy_row[held]
        self.unread_row = layout.unread_row[held]
        self.idle_power_row = layout.idle_power_row[held]
        self.utilisation_row = _ints(
            [layout.row(SeriesKey(metrics.METRIC_DEVICE_GPU_UTILISATION, device=name)) for name in self.names]
        )
        self.limit_mw = _ints([limits.get(name, 0) for name in self.names])


class HeldCpus:
    """CPUs that jobs reserved, and what the node's CPUs draw however little they are used."""

    def __init__(self, layout: NodeLayout, jobs: Sequence[report_pb2.Workload]) -> None:
        rows = {
            job.id: layout.row(SeriesKey(metrics.METRIC_WORKLOAD_CPU, workload=job.id))
            for job in jobs
            if job.reserved_millicpus
        }
        self.jobs = [job for job, row in rows.items() if row >= 0]
        self.cpu_row = _ints([rows[job] for job in self.jobs])
        reserved = {job.id: job.reserved_millicpus for job in jobs}
        self.millicpus = _ints([reserved[job] for job in self.jobs])
        self.node_millicpus = layout.logical_cpus * 1000
        packages = (layout.domain_class == CPU) & layout.domain_booked & (layout.idle_power_row >= 0)
        self.energy_row = layout.energy_row[packages]
        self.idle_power_row = layout.idle_power_row[packages]


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)
