"""Read what the physical disks did: /sys/block/*/stat (Documentation/block/stat.rst)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2, report_pb2

# A stack on other disks, memory, or a path of an NVMe disk that is listed by itself: not once more.
_NOT_A_DISK = re.compile(
    r"(loop|ram|zram|dm-|md|bcache|drbd|zd|fd|sr|mtdblock)[0-9_]+|md_.*"
    r"|mmcblk[0-9]+(boot[0-9]+|rpmb)|nvme[0-9]+c[0-9]+n[0-9]+"
)
# Disks of a hypervisor, and disks that a network serves: what they spend is spent elsewhere.
_REMOTE = re.compile(r"(vd|xvd)[a-z]+|(nbd|rbd)[0-9]+")
_HYPERVISORS = (b"qemu", b"vmware", b"virtual", b"msft", b"vbox", b"xen", b"amazon elastic", b"nvme_card-pd")
_FABRICS = (b"tcp", b"rdma", b"fc")
_METRICS = (
    metrics_pb2.METRIC_DEVICE_READ,
    metrics_pb2.METRIC_DEVICE_WRITTEN,
    metrics_pb2.METRIC_DEVICE_READS,
    metrics_pb2.METRIC_DEVICE_WRITES,
    metrics_pb2.METRIC_DEVICE_BUSY,
)
# io_ticks is printed as 32 bits of ms.
_BUSY_RANGE_US = (1 << 32) * 1000
_ABSENT_DISK = (0, 0, 0, 0, 0)


@dataclass(slots=True)
class Disk:
    """One disk; last holds read_bytes, written_bytes, reads, writes and busy_us of the last read."""

    device: Device
    fd: int
    last: tuple[int, int, int, int, int] = _ABSENT_DISK
    busy_base_us: int = 0


def parse_stat(data: bytes) -> tuple[int, int, int, int, int]:
    """Parse a block device's stat into bytes read and written, reads, writes and busy µs (wraps at 2^32 ms).

    A sector is 512 bytes whatever the disk says. The numbers are: reads, merged, sectors, ms; the same for
    writes; in flight, busy ms, …
    """
    reads, _, sectors_read, _, writes, _, sectors_written, _, _, busy_ms, _ = data.split(None, 10)
    return int(sectors_read) << 9, int(sectors_written) << 9, int(reads), int(writes), int(busy_ms) * 1000


def tier(name: str, model: bytes, transport: bytes, rotational: bytes) -> report_pb2.DiskTier.ValueType:
    """Tell a disk's tier from its name, vendor and model, NVMe transport and queue/rotational."""
    model = model.lower()
    if (
        _REMOTE.fullmatch(name)
        or transport.strip() in _FABRICS
        or any(maker in model for maker in _HYPERVISORS)
    ):
        return report_pb2.DISK_TIER_VIRTUAL
    if name.startswith("nvme"):
        return report_pb2.DISK_TIER_NVME
    return report_pb2.DISK_TIER_HDD if rotational.strip() == b"1" else report_pb2.DISK_TIER_SSD


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


FACTS = SourceFacts(
    name="disks",
    what="bytes, operations and busy time of each physical disk, with its tier",
    where="`/sys/block/*/stat`",
    unit="sectors of 512 bytes, operations, ms",
    period="at once; busy time 1 ms or the tick of the kernel",
    accuracy="exact",
    privilege="none",
    cost="5 µs a disk",
    documentation="Documentation/block/stat.rst",
)


class DiskUsage:
    """Read every physical disk's counters; disks holds them. A disk that is pulled keeps its last values."""

    name = "disks"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "block"
        self.disks: list[Disk] = []

    def probe(self) -> Probe:
        """Open stat of each disk there is now."""
        self.close()
        findings = []
        try:
            names = sorted(path.name for path in self._directory.iterdir())
        except OSError:
            names = []
        for name in names:
            if _NOT_A_DISK.fullmatch(name):
                continue
            try:
                self._open(self._directory / name)
            except (OSError, ValueError) as error:
                findings.append(Finding(f"disks:{name}", UNREADABLE, str(error)))
        if self.disks:
            findings.insert(0, Finding(self.name, WORKING))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "no physical disk"))
        return Probe(
            series=tuple(
                Series(metric, device=disk.device.name) for disk in self.disks for metric in _METRICS
            ),
            devices=tuple(disk.device for disk in self.disks),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:  # noqa: ARG002  # the kernel's own counters need no clock
        """Return read_bytes, written_bytes, reads, writes and busy_us of each disk."""
        values: list[int] = []
        for disk in self.disks:
            try:
                read, written, reads, writes, busy_us = parse_stat(os.pread(disk.fd, 256, 0))
            except (OSError, ValueError):
                values += disk.last
                continue
            busy_us += disk.busy_base_us
            if busy_us < disk.last[4]:
                disk.busy_base_us += _BUSY_RANGE_US
                busy_us += _BUSY_RANGE_US
            disk.last = (read, written, reads, writes, busy_us)
            values += disk.last
        return values

    def close(self) -> None:
        """Give the descriptors back."""
        for disk in self.disks:
            os.close(disk.fd)
        self.disks = []

    def _open(self, path: Path) -> None:
        size_bytes = int(_bytes(path / "size") or b"0") << 9
        if not size_bytes:
            # An nbd with no server, a card reader with no card.
            return
        model = _bytes(path / "device/vendor") + b" " + _bytes(path / "device/model")
        device = Device(
            name=path.name,
            kind=report_pb2.DEVICE_KIND_DISK,
            tier=tier(path.name, model, _bytes(path / "device/transport"), _bytes(path / "queue/rotational")),
            size_bytes=size_bytes,
        )
        fd = os.open(path / "stat", os.O_RDONLY | os.O_CLOEXEC)
        disk = Disk(device, fd)
        try:
            disk.last = parse_stat(os.pread(fd, 256, 0))
        except (OSError, ValueError):
            os.close(fd)
            raise
        self.disks.append(disk)
