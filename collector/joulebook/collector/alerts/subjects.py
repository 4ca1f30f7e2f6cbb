"""What of a node there is to judge: the GPUs and CPUs that jobs hold, and the node itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container

from joulebook.collector.alerts.alert import Key
from joulebook.collector.alerts.names import CPU_HELD_IDLE, GPU_HELD_IDLE, NODE_UNALLOCATED
from joulebook.collector.ledger.domains import CPU
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.shared import shared_ints
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.naming import job_of, jobs_of


class Subjects:
    """The subjects of a layout, in columns: places of their readings in a Report's values, -1 for none."""

    def __init__(self, layout: NodeLayout, watched: Container[str]) -> None:
        self._place = ("node", layout.node)
        message = layout.message
        jobs = set(jobs_of(message))
        self.users = {job_of(w): w.user for w in message.workloads if w.user and job_of(w) in jobs}
        needs_gpus = GPU_HELD_IDLE in watched or CPU_HELD_IDLE in watched
        self.gpus = HeldGpus(layout, message, jobs if needs_gpus else set())
        self.gpu_keys = [
            [self._key(GPU_HELD_IDLE, gpu=gpu, job=job) for job in own if GPU_HELD_IDLE in watched]
            for gpu, own in zip(self.gpus.names, self.gpus.jobs, strict=True)
        ]
        self.cpus = HeldCpus(layout, message, jobs if CPU_HELD_IDLE in watched else set())
        self.cpu_keys = [self._key(CPU_HELD_IDLE, job=job) for job in self.cpus.jobs]
        self.unallocated = self._key(NODE_UNALLOCATED)
        self.is_unallocated = NODE_UNALLOCATED in watched and not jobs
        self.known = frozenset([self.unallocated, *self.cpu_keys, *(k for own in self.gpu_keys for k in own)])

    def _key(self, rule: str, **subject: str) -> Key:
        return Key(rule, tuple(sorted([*subject.items(), self._place])))


class HeldGpus:
    """GPUs that jobs hold, and by whom: as in the ledger, who has processes there if none is known."""

    def __init__(self, layout: NodeLayout, message: report_pb2.Layout, jobs: set[str]) -> None:
        holders: dict[int, set[str]] = defaultdict(set)
        for workload in message.workloads:
            for place in workload.gpu:
                holders[place - 1].add(job_of(workload))
        users: dict[int, set[str]] = defaultdict(set)
        for place, user in layout.gpu_users():
            users[place].add(job_of(message.workloads[user]))
        by_place = {place: own for place, own in sorted((users | holders).items()) if own & jobs}
        held = [place for place in by_place if layout.energy_row[place] >= 0]
        limits = {device.name: device.power_limit_mw for device in message.devices}
        self.names = [layout.domain_names[place] for place in held]
        self.jobs = [sorted(by_place[place] & jobs) for place in held]
        # Those who share what it draws: the system's own processes may be there too.
        self.sharers = [len(by_place[place]) for place in held]
        self.energy_row = layout.energy_row[held]
        self.unread_row = layout.unread_row[held]
        self.idle_power_row = layout.idle_power_row[held]
        self.utilisation_row = layout.device_rows(metrics.METRIC_DEVICE_GPU_UTILISATION, self.names)
        self.limit_mw = shared_ints([limits.get(name, 0) for name in self.names])


class HeldCpus:
    """CPUs that jobs reserved, and what the node's CPUs draw however little they are used."""

    def __init__(self, layout: NodeLayout, message: report_pb2.Layout, jobs: set[str]) -> None:
        reserving = [
            (workload, row)
            for workload, row in zip(message.workloads, layout.workload_cpu_row.tolist(), strict=True)
            if workload.reserved_millicpus and job_of(workload) in jobs and row >= 0
        ]
        self.jobs = [job_of(workload) for workload, _ in reserving]
        self.cpu_row = shared_ints([row for _, row in reserving])
        self.millicpus = shared_ints([workload.reserved_millicpus for workload, _ in reserving])
        self.node_millicpus = layout.logical_cpus * 1000
        packages = (layout.domain_class == CPU) & layout.domain_booked & (layout.idle_power_row >= 0)
        self.energy_row = layout.energy_row[packages]
        self.idle_power_row = layout.idle_power_row[packages]
