"""A node whose every workload's use and energy is known, and the Reports that its agent would send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue
from joulebook.v1.naming import layout_hash

TICK_US = 1_000_000
BOOT = bytes(range(16))
WALL_US = 1_790_000_000_000_000


@dataclass(slots=True)
class Load:
    """A workload: CPU µs a tick, memory and IO bytes, and the µJ a tick that it truly causes."""

    id: str
    kind: report_pb2.WorkloadKind.ValueType = report_pb2.WORKLOAD_KIND_JOB
    parent: str = ""
    # The job that it is a part of; empty: its id is the job's.
    job: str = ""
    reserved_millicpus: int = 0
    cpu_us: int = 0
    memory_bytes: int = 0
    io_bytes: int = 0
    # Further bytes a tick that are told by disk, by domain.
    disk_bytes: dict[str, int] = field(default_factory=dict)
    name: str = ""
    user: str = ""
    gpus_held: tuple[str, ...] = ()
    # What part of each, in ppm; empty: all whole.
    gpu_shares_ppm: tuple[int, ...] = ()
    start_unix_us: int = 0
    # GPUs that its processes are on, with their utilisation as the driver tells it.
    gpu_ppm: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class SimulatedNode:
    """Ticks with given loads; keeps raw counters and the truth of who caused what.

    The machine draws idle_uj a tick and active_uj for each second of CPU time, so a workload's true active
    energy is its own CPU time × that. A disk draws disk_uj a tick and as much for each MiB as disk_uj_per_mib
    says of it. Reports are cut by report(); layouts follow the loads.
    """

    name: str = "n1"
    boot: bytes = BOOT
    cpus: int = 8
    memory_total: int = 64 << 30
    idle_uj: int = 40_000_000
    active_uj_per_cpu_s: int = 10_000_000
    memory_uj: int = 6_000_000
    gpu_uj: int = 1_000_000
    gpu_idle_mw: int = 0
    gpu_limit_mw: int = 0
    disk_uj: int = 1_000_000
    disk_idle_mw: int = 0
    disk_uj_per_mib: Mapping[str, int] = field(default_factory=dict)
    # µs a tick for which no meter gave a reading.
    unread_us: int = 0
    domains: Sequence[tuple[str, report_pb2.SourceKind.ValueType]] = (
        ("cpu.0", report_pb2.SOURCE_KIND_COUNTER),
        ("memory.0", report_pb2.SOURCE_KIND_COUNTER),
    )
    # Further series, of the node ('') or a device: what a counter counts a tick, or a gauge's level.
    also: Mapping[tuple[int, str], int] = field(default_factory=dict)
    now_us: int = 50_000_000
    session_us: int = 49_000_000
    wall_us: int = WALL_US
    layouts: dict[int, bytes] = field(default_factory=dict)
    truth_uj: dict[str, int] = field(default_factory=dict)
    # Of disks beside the first one, which is NVMe, where loads tell of them.
    disk_tiers: Mapping[str, report_pb2.DiskTier.ValueType] = field(default_factory=dict)
    # Of disks, by workload.
    disk_truth_uj: dict[str, int] = field(default_factory=dict)
    measured_uj: int = 0
    _energy: dict[str, int] = field(default_factory=dict)
    _disk_uj: dict[str, int] = field(default_factory=dict)
    # Disks beside the first one of which loads tell.
    _disks: Sequence[str] = ()
    _counters: dict[tuple[int, str], int] = field(default_factory=dict)
    _rows: list[tuple[list[int], int]] = field(default_factory=list)
    _loads: tuple[Load, ...] = ()
    _layout: bytes = b""
    _unread_us: int = 0
    _keys: Sequence[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, (name, _) in enumerate(self.domains):
            self._energy[name] = 10**9 * (number + 1)

    def begin(self, loads: Sequence[Load]) -> None:
        """Take these workloads on; cuts no Report by itself, so call it right after report()."""
        self._loads = tuple(loads)
        told = {disk for load in loads for disk in load.disk_bytes} - {"disk.nvme0n1"}
        self._disks = [name.removeprefix("disk.") for name, _ in self.domains if name in told]
        places = {load.id: i + 1 for i, load in enumerate(loads)}
        message = report_pb2.Layout(
            node=self.name,
            session_us=self.session_us,
            agent_version="simulated",
            host=report_pb2.Host(logical_cpus=self.cpus, packages=1, memory_bytes=self.memory_total),
        )
        for name, kind in self.domains:
            message.domains.add(
                name=name,
                source="simulated",
                kind=kind,
                resolution_uj=61,
                period_us=1000,
                accuracy_ppm=30_000,
                range_uj=1 << 38,
                limit_mw=20_000_000,
            )
        message.devices.add(name="nvme0n1", kind=report_pb2.DEVICE_KIND_DISK, tier=report_pb2.DISK_TIER_NVME)
        for name in self._devices()[1:]:
            is_gpu = name.startswith("gpu.")
            gpu, network = report_pb2.DEVICE_KIND_GPU, report_pb2.DEVICE_KIND_NETWORK
            beside = report_pb2.DEVICE_KIND_DISK if name in self._disks else network
            message.devices.add(
                name=name,
                kind=gpu if is_gpu else beside,
                tier=self.disk_tiers.get(f"disk.{name}", report_pb2.DISK_TIER_UNSPECIFIED),
                power_limit_mw=self.gpu_limit_mw if is_gpu else 0,
            )
        for load in loads:
            domain_places = {name: i for i, (name, _) in enumerate(self.domains, start=1)}
            message.workloads.add(
                id=load.id,
                kind=load.kind,
                source="simulated",
                name=load.name,
                user=load.user,
                parent=places.get(load.parent, 0),
                job=load.job,
                reserved_millicpus=load.reserved_millicpus,
                gpu=[domain_places[gpu] for gpu in load.gpus_held if gpu in domain_places],
                gpu_share_ppm=load.gpu_shares_ppm,
                start_unix_us=load.start_unix_us,
            )
        keys: list[tuple[int, int, int, int]] = [
            (m.METRIC_NODE_CPU_BUSY, 0, 0, 0),
            (m.METRIC_NODE_MEMORY_USED, 0, 0, 0),
        ]
        for number in range(1, len(self.domains) + 1):
            keys += [
                (m.METRIC_DOMAIN_ENERGY, number, 0, 0),
                (m.METRIC_DOMAIN_UNREAD, number, 0, 0),
                (m.METRIC_DOMAIN_IDLE_POWER, number, 0, 0),
            ]
        keys += [(m.METRIC_DEVICE_READ, 0, 1, 0), (m.METRIC_DEVICE_WRITTEN, 0, 1, 0)]
        devices = self._devices()
        keys += [(m.METRIC_DEVICE_READ, 0, devices.index(name) + 1, 0) for name in self._disks]
        keys += [(metric, 0, self._devices().index(name) + 1 if name else 0, 0) for metric, name in self.also]
        for number in range(1, len(loads) + 1):
            keys += [
                (m.METRIC_WORKLOAD_CPU, 0, 0, number),
                (m.METRIC_WORKLOAD_MEMORY, 0, 0, number),
                (m.METRIC_WORKLOAD_IO, 0, 0, number),
            ]
            for domain, (name, _) in enumerate(self.domains, start=1):
                if name in loads[number - 1].gpu_ppm:
                    keys.append((m.METRIC_WORKLOAD_GPU_UTILISATION, domain, 0, number))
                if name in loads[number - 1].disk_bytes:
                    keys.append((m.METRIC_WORKLOAD_DISK_IO, domain, 0, number))
        for metric, domain, device, workload in keys:
            message.series_metric.append(metric)
            message.series_domain.append(domain)
            message.series_device.append(device)
            message.series_workload.append(workload)
        self._layout = message.SerializeToString()
        self.layouts[layout_hash(self._layout)] = self._layout
        self._keys = keys
        self._rows = [(self._row(), 0)]

    def _devices(self) -> list[str]:
        others = {device for _, device in self.also} - {"", "nvme0n1", *self._disks}
        return ["nvme0n1", *sorted(others), *self._disks]

    def _row(self) -> list[int]:
        row = []
        for metric, domain, device, workload in self._keys:
            if metric == m.METRIC_WORKLOAD_DISK_IO:
                subject = f"{self._loads[workload - 1].id} on {self.domains[domain - 1][0]}"
                value = self._counters.get((metric, subject), 0)
            elif domain and workload:
                value = self._loads[workload - 1].gpu_ppm[self.domains[domain - 1][0]]
            elif domain:
                name = self.domains[domain - 1][0]
                values: dict[int, int] = {
                    m.METRIC_DOMAIN_ENERGY: self._energy[name],
                    m.METRIC_DOMAIN_UNREAD: self._unread_us,
                    m.METRIC_DOMAIN_IDLE_POWER: self._idle_mw(name),
                }
                value = values[metric]
            elif (own := (metric, self._devices()[device - 1] if device else "")) in self.also:
                counted = self._counters.get(own, 0)
                value = counted if catalogue()[metric].is_counter else self.also[own]
            elif workload and metric == m.METRIC_WORKLOAD_MEMORY:
                value = self._loads[workload - 1].memory_bytes
            elif metric == m.METRIC_NODE_MEMORY_USED:
                value = sum(load.memory_bytes for load in self._loads if not load.parent)
            else:
                of_device = self._devices()[device - 1] if device else ""
                subject = self._loads[workload - 1].id if workload else of_device
                value = self._counters.get((metric, subject), 0)
            row.append(value)
        return row

    def _idle_mw(self, domain: str) -> int:
        kind = domain.partition(".")[0]
        return {
            "cpu": self.idle_uj // 1000,
            "memory": self.memory_uj // 1000,
            "gpu": self.gpu_idle_mw,
            "disk": self.disk_idle_mw,
        }.get(kind, 0)

    def _count(self, metric: int, subject: str, amount: int) -> None:
        self._counters[metric, subject] = self._counters.get((metric, subject), 0) + amount

    def tick(self, length_us: int = TICK_US) -> None:
        """Let one interval pass, of a second unless length_us says otherwise."""
        seconds_ppm = length_us * 1_000_000 // TICK_US
        total_cpu_us = 0
        self._disk_uj = {}
        for (metric, subject), amount in self.also.items():
            self._count(metric, subject, amount)
        for load in self._loads:
            used_us = load.cpu_us * seconds_ppm // 1_000_000
            self._count(m.METRIC_WORKLOAD_CPU, load.id, used_us)
            self._count(m.METRIC_WORKLOAD_IO, load.id, load.io_bytes + sum(load.disk_bytes.values()))
            if not load.parent:
                total_cpu_us += used_us
                self._count(m.METRIC_DEVICE_READ, "nvme0n1", load.io_bytes)
            self._use_disks(load)
            own_us = used_us - sum(
                child.cpu_us * seconds_ppm // 1_000_000 for child in self._loads if child.parent == load.id
            )
            caused = own_us * self.active_uj_per_cpu_s // 1_000_000
            self.truth_uj[load.id] = self.truth_uj.get(load.id, 0) + caused
        self._count(m.METRIC_NODE_CPU_BUSY, "", total_cpu_us)
        cpu_uj = (
            self.idle_uj * seconds_ppm // 1_000_000 + total_cpu_us * self.active_uj_per_cpu_s // 1_000_000
        )
        memory_uj = self.memory_uj * seconds_ppm // 1_000_000
        drawn = {
            "cpu": cpu_uj,
            "memory": memory_uj,
            "gpu": self.gpu_uj,
            "node": (cpu_uj + memory_uj) * 5 // 4,
        }
        leaves_uj = 0
        for name, _ in self.domains:
            energy_uj = drawn.get(name.partition(".")[0], self.disk_uj + self._disk_uj.get(name, 0))
            self._energy[name] += energy_uj
            if not name.startswith("node"):
                leaves_uj += energy_uj
        has_node = any(name == "node" for name, _ in self.domains)
        self.measured_uj += max(drawn["node"], leaves_uj) if has_node else leaves_uj
        self.now_us += length_us
        self._unread_us += self.unread_us
        self._rows.append((self._row(), length_us))

    def _use_disks(self, load: Load) -> None:
        """Move the load's bytes on disks; what contains it moved them too."""
        for disk, bytes_ in load.disk_bytes.items():
            rate = self.disk_uj_per_mib.get(disk, 0)
            self._count(m.METRIC_WORKLOAD_DISK_IO, f"{load.id} on {disk}", bytes_)
            if not load.parent:
                self._count(m.METRIC_DEVICE_READ, disk.removeprefix("disk."), bytes_)
                self._disk_uj[disk] = self._disk_uj.get(disk, 0) + rate * bytes_ // (1 << 20)
            own = bytes_ - sum(each.disk_bytes.get(disk, 0) for each in self._loads if each.parent == load.id)
            caused_uj = rate * own // (1 << 20)
            self.disk_truth_uj[load.id] = self.disk_truth_uj.get(load.id, 0) + caused_uj

    def report(self) -> report_pb2.Report:
        """Cut a Report of the ticks since the last one; the next begins where it ends."""
        rows = self._rows
        report = report_pb2.Report(
            node=self.name,
            boot=self.boot,
            sequence=self.now_us - sum(length for _, length in rows),
            layout_hash=layout_hash(self._layout),
            realtime_offset_us=self.wall_us - 50_000_000,
        )
        report.interval_us.extend(length for _, length in rows[1:])
        columns = list(zip(*(row for row, _ in rows), strict=True))
        for column in columns:
            report.values.append(column[0])
            report.values.extend(b - a for a, b in pairwise(column))
        self._rows = [(rows[-1][0], 0)]
        return report

    def restart_agent(self) -> None:
        """Begin a new session: ticks since the last Report are lost, hardware counters run on."""
        self.session_us = self.now_us
        self.begin(self._loads)
