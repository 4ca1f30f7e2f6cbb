"""Read what the physical disks did: /sys/block/*/stat (Documentation/block/stat.rst)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import lt
from pathlib import Path

from joulebook.agent.counters import Counters, S, Trouble
from joulebook.agent.mending import fix_of
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.layers import Layers, read_layers
from joulebook.v1 import metrics_pb2, report_pb2

# Disks of a hypervisor, and disks that a network serves: what they spend is spent elsewhere.
_REMOTE = re.compile(r"(vd|xvd)[a-z]+|(nbd|rbd)[0-9]+")
_HYPERVISORS = (b"qemu", b"vmware", b"virtual", b"msft", b"vbox", b"xen", b"amazon elastic", b"nvme_card-pd")
_FABRICS = (b"tcp", b"rdma", b"fc")
# In the path of a SCSI disk that iSCSI or Fibre Channel brings.
_SAN = re.compile(r"/(session|rport-)[0-9]")
_METRICS = (
    metrics_pb2.METRIC_DEVICE_READ,
    metrics_pb2.METRIC_DEVICE_WRITTEN,
    metrics_pb2.METRIC_DEVICE_READS,
    metrics_pb2.METRIC_DEVICE_WRITES,
    metrics_pb2.METRIC_DEVICE_BUSY,
    metrics_pb2.METRIC_DEVICE_READ_WAIT,
    metrics_pb2.METRIC_DEVICE_WRITE_WAIT,
    metrics_pb2.METRIC_DEVICE_QUEUE,
    metrics_pb2.METRIC_DEVICE_DISCARDED,
    metrics_pb2.METRIC_DEVICE_FLUSHES,
)
# A second of the fastest disk there is, many times over. Waits are counted when a request ends, which may
# have waited for minutes, and a queue holds thousands. A discard may be of a whole disk.
_MOST = (10**11, 10**11, 10**8, 10**8, 60 * S, 10**6 * S, 10**6 * S, 10**6 * S, 10**15, 10**8)
# The kernel prints its milliseconds as 32 bits.
_WRAP_US = (1 << 32) * 1000
_TIMES = (4, 5, 6, 7)
_NOTHING = (0,) * len(_METRICS)


def parse_stat(data: bytes) -> tuple[int, ...]:
    """Parse a block device's stat into bytes read and written, reads, writes, µs busy, µs that reads and
    writes waited, µs in the queue, bytes discarded and flushes.

    A sector is 512 bytes whatever the disk says. The numbers are: reads, merged, sectors, ms; the same for
    writes; in flight, busy ms, queue ms; from Linux 4.18 the same for discards, from 5.5 flushes and their
    ms. Times wrap at 2^32 ms.
    """
    words = data.split()
    if not 11 <= len(words) <= 64:
        raise ValueError(f"stat of {len(words)} numbers: expected 11 to 17")
    numbers = tuple(map(int, words[:17]))
    if min(numbers) < 0:
        raise ValueError(f"stat holds {min(numbers)}: expected no negative number")
    return (
        numbers[2] << 9,
        numbers[6] << 9,
        numbers[0],
        numbers[4],
        numbers[9] * 1000,
        numbers[3] * 1000,
        numbers[7] * 1000,
        numbers[10] * 1000,
        numbers[13] << 9 if len(numbers) > 13 else 0,
        numbers[15] if len(numbers) > 15 else 0,
    )


def tier(
    name: str, model: bytes, transport: bytes, rotational: bytes, path: str = ""
) -> report_pb2.DiskTier.ValueType:
    """Tell a disk's tier from its name, vendor and model, NVMe transport, queue/rotational and sysfs path."""
    model = model.lower()
    if (
        _REMOTE.fullmatch(name)
        or transport.strip() in _FABRICS
        or any(maker in model for maker in _HYPERVISORS)
        or _SAN.search(path)
    ):
        return report_pb2.DISK_TIER_VIRTUAL
    if name.startswith("nvme"):
        return report_pb2.DISK_TIER_NVME
    return report_pb2.DISK_TIER_HDD if rotational.strip() == b"1" else report_pb2.DISK_TIER_SSD


@dataclass(slots=True)
class _Path:
    """One way to a disk: its stat's descriptor, and what is to be added to the times that wrapped."""

    fd: int
    data: bytes = b""
    last: tuple[int, ...] = _NOTHING
    wraps: int = 0

    def read(self) -> tuple[int, ...]:
        """Read the counters, with times that go on where the kernel's wrap."""
        data = os.pread(self.fd, 512, 0)
        if data == self.data:
            # Most disks rest most of the time.
            return self.last
        raw = parse_stat(data)
        self.data = data
        last = self.last
        if self.wraps or any(map(lt, raw[4:8], last[4:8])):
            raw = self._unwrapped(raw)
        self.last = raw
        return raw

    def _unwrapped(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        numbers = list(raw)
        for place in _TIMES:
            # Only what had come near the end can have wrapped; anything else fell, and is dropped as that.
            wraps, within = divmod(self.last[place], _WRAP_US)
            is_wrapped = (
                numbers[place] < within and within > _WRAP_US * 3 // 4 and numbers[place] < _WRAP_US // 4
            )
            numbers[place] += (wraps + is_wrapped) * _WRAP_US
            self.wraps += is_wrapped
        return tuple(numbers)


class Disk:
    """One disk; last holds the values of _METRICS of the last read."""

    __slots__ = ("counters", "device", "numbers", "paths")

    def __init__(self, device: Device, paths: list[_Path], trouble: Trouble) -> None:
        self.device = device
        self.paths = paths
        # Each path's number, as cgroups' files of IO name it: "8:0".
        self.numbers: list[bytes] = []
        self.counters = Counters(trouble, _MOST)

    @property
    def last(self) -> tuple[int, ...]:
        """Return what was counted until the last read."""
        return self.counters.values

    def read(self, now_us: int) -> tuple[int, ...]:
        """Read; what cannot be read or believed stands still."""
        try:
            if len(self.paths) == 1:
                raw = self.paths[0].read()
            else:
                raw = tuple(map(sum, zip(*(path.read() for path in self.paths), strict=True)))
        except (OSError, ValueError) as error:
            return self.counters.miss(error, now_us)
        return self.counters.take(raw, now_us)

    def close(self) -> None:
        """Give the descriptors back."""
        for path in self.paths:
            os.close(path.fd)


def domain_of(disk: Disk) -> str:
    """Return the name of a disk's energy domain."""
    return f"disk.{disk.device.name}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


FACTS = SourceFacts(
    name="disks",
    what="bytes, operations, latency, queue and busy time of each physical disk, with its tier; stacks"
    " (md, LVM and its caches, crypt, bcache, multipath) are told by name and counted at their disks alone",
    where="`/sys/block/*/stat`, `slaves`, `dm`",
    unit="sectors of 512 bytes, operations, ms",
    period="at once; times 1 ms or the tick of the kernel, when a request ends",
    accuracy="exact",
    privilege="none",
    cost="1.5 µs a disk that rests, 9 µs one that works",
    documentation="Documentation/block/stat.rst, Documentation/ABI/stable/sysfs-block",
)


class DiskUsage:
    """Read every physical disk's counters; disks holds them. A disk that is pulled keeps its last values."""

    name = "disks"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "block"
        self._troubles: list[Trouble] = []
        self._now_us = 0
        self.disks: list[Disk] = []

    def probe(self) -> Probe:
        """Open stat of each disk there is now."""
        self.close()
        findings = []
        layers = read_layers(self._directory)
        for name, paths in layers.leaves.items():
            try:
                self._open(name, paths)
            except (OSError, ValueError) as error:
                findings.append(Finding(f"{self.name}:{name}", UNREADABLE, str(error), fix_of(error)))
        if self.disks:
            findings.insert(0, Finding(self.name, WORKING, _told(layers, self.disks)))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "no physical disk"))
        return Probe(
            series=tuple(
                Series(metric, device=disk.device.name) for disk in self.disks for metric in _METRICS
            ),
            devices=tuple(disk.device for disk in self.disks),
            findings=tuple(findings),
        )

    def domains(self) -> dict[bytes, str]:
        """Return what each disk is called as an energy domain, by the numbers of its paths."""
        return {number: domain_of(disk) for disk in self.disks for number in disk.numbers if number}

    def read(self, now_us: int) -> Sequence[int]:
        """Return the values of _METRICS of each disk."""
        self._now_us = now_us
        values: list[int] = []
        for disk in self.disks:
            values += disk.read(now_us)
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        now_us = self._now_us
        return tuple(f for trouble in self._troubles if (f := trouble.finding(now_us)) is not None)

    def close(self) -> None:
        """Give the descriptors back."""
        for disk in self.disks:
            disk.close()
        self.disks, self._troubles = [], []

    def _open(self, name: str, paths: Sequence[str]) -> None:
        directory = self._directory / name
        size_bytes = int(_bytes(directory / "size") or b"0") << 9
        if not 0 < size_bytes < 1 << 63:
            # An nbd with no server, a card reader with no card.
            return
        model = _bytes(directory / "device/vendor") + b" " + _bytes(directory / "device/model")
        device = Device(
            name=name,
            kind=report_pb2.DEVICE_KIND_DISK,
            tier=tier(
                name,
                model,
                _bytes(directory / "device/transport"),
                _bytes(directory / "queue/rotational"),
                os.path.realpath(directory),
            ),
            size_bytes=size_bytes,
        )
        trouble = Trouble(f"{self.name}:{name}")
        disk = Disk(device, [], trouble)
        try:
            for path in paths:
                fd = os.open(self._directory / path / "stat", os.O_RDONLY | os.O_CLOEXEC)
                disk.paths.append(_Path(fd))
                disk.numbers.append(_bytes(self._directory / path / "dev").strip())
                disk.paths[-1].last = parse_stat(os.pread(fd, 512, 0))
            disk.counters.take(tuple(map(sum, zip(*(path.last for path in disk.paths), strict=True))), 0)
        except (OSError, ValueError):
            disk.close()
            raise
        self.disks.append(disk)
        self._troubles.append(trouble)


def _told(layers: Layers, disks: Sequence[Disk]) -> str:
    """Say what lies on which disks, and of which tiers they are."""
    tiers = {disk.device.name: disk.device.tier for disk in disks}

    def called(leaf: str) -> str:
        kind = report_pb2.DiskTier.Name(tiers.get(leaf, report_pb2.DISK_TIER_UNSPECIFIED))
        return f"{leaf} ({kind.removeprefix('DISK_TIER_').lower()})"

    return "; ".join(
        f"{stack} lies on {', '.join(map(called, leaves))}" for stack, leaves in layers.stacks.items()
    )
