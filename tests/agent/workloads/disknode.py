"""A node whose jobs move bytes on known disks, and its agent."""

from pathlib import Path

from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.model import ModelMeter
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Roots
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.memory import MemoryUsage
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.workloads import Workloads
from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.cgroups.fake import V2, FakeCgroups
from tests.fixtures.trees import write

S = 1_000_000
NUMBERS = {"nvme0n1": "259:0", "sda": "8:0", "sdb": "8:16", "dm-0": "253:0"}
DISK_IO = metrics.METRIC_WORKLOAD_DISK_IO


class Node:
    """A node of three disks with jobs that move bytes on them, and its agent; ten ticks a Report."""

    def __init__(self, directory: Path, version: str = V2, disks: tuple[str, ...] = tuple(NUMBERS)) -> None:
        self.fake = FakeCgroups(directory, version)
        fake = self.fake.roots
        self.roots = Roots(fake.procfs, directory / "sys", fake.cgroupfs, directory / "dev")
        (fake.procfs / "self").mkdir()
        (fake.procfs / "self/cgroup").write_text("0::/\n")
        self.block = self.roots.sysfs / "block"
        for disk in disks:
            write(self.block / disk / "size", 1 << 21)
            write(self.block / disk / "dev", NUMBERS[disk])
            write(self.block / disk / "queue/rotational", int(disk.startswith("sd")))
        if "dm-0" in disks:
            (self.block / "dm-0/slaves").mkdir(parents=True)
            (self.block / "dm-0/slaves/sda").symlink_to(self.block / "sda")
        self.moved: dict[str, int] = dict.fromkeys(disks, 0)
        self.by_job: dict[str, dict[str, int]] = {}
        self.now_us = 10 * S
        self.sent: list[tuple[report_pb2.Report, bytes]] = []
        self._show_disks()

    def start(self) -> None:
        """Begin to watch."""
        usage = DiskUsage(self.roots)
        cpu, memory = CpuUsage(self.roots), MemoryUsage(self.roots)
        probed = [(usage, usage.probe())]
        model = ModelMeter(self.roots, cpu, memory, usage)
        arbiter = Arbiter([(model, model.probe())])
        self.workloads = Workloads(
            self.roots, WorkloadsConfig(job_cgroups=("/batch/*",)), disks=usage.domains(), lookup_user=str
        )
        self.sampler = Sampler(
            "n1",
            bytes(16),
            report_pb2.Host(logical_cpus=4, packages=1, memory_bytes=1 << 33),
            [*probed, (arbiter, arbiter.probe())],
            [arbiter],
            self.workloads,
            lambda report, layout: self.sent.append((report, layout)),
            clock=lambda: self.now_us,
        )
        self.sampler.start()

    def move(self, job: str, **bytes_: int) -> None:
        """Have a job read from disks; what lies on others is counted there too, as the kernel does it."""
        own = self.by_job.setdefault(job, {})
        for name, amount in bytes_.items():
            disk = name.replace("_", "-")
            own[disk] = own.get(disk, 0) + amount
            self.moved[disk] += amount
        self.fake.make(f"/batch/{job}")
        directory = self.fake.directories(f"/batch/{job}")[-1]
        if self.fake.version == V2:
            lines = [f"{NUMBERS[d]} rbytes={n} wbytes=0 rios=1 wios=0\n" for d, n in own.items()]
            (directory / "io.stat").write_text("".join(lines))
        else:
            lines = [f"{NUMBERS[d]} Read {n}\n{NUMBERS[d]} Total {n}\n" for d, n in own.items()]
            lines.append(f"Total {sum(own.values())}\n")
            (directory / "blkio.throttle.io_service_bytes_recursive").write_text("".join(lines))
        self._show_disks()

    def tick(self) -> None:
        """Let a second pass."""
        self.now_us += S
        self.sampler.tick()

    def decoded(self) -> list[Decoded]:
        """Cut, and return all Reports as the collector takes them."""
        self.sampler.cut()
        wall_us = max(self.sent[-1][0].realtime_offset_us, 0) + self.now_us
        return [decode_report(r, decode_layout(layout), wall_us, 10 * S) for r, layout in self.sent]

    def told(self) -> list[dict[tuple[str, str], list[int]]]:
        """Return of each Report the increments of the series of workloads and disks."""
        return [
            {
                (key.workload, key.domain): values[1:].tolist()
                for key, values in zip(one.readings.layout.series, one.readings.values, strict=True)
                if key.metric == DISK_IO
            }
            for one in self.decoded()
        ]

    def _show_disks(self) -> None:
        for disk, amount in self.moved.items():
            write(self.block / disk / "stat", f"0 0 {amount // 512} 0 0 0 0 0 0 0 0")
