"""Disks of the node."""

from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Roots
from joulebook.agent.usage.disks import DiskUsage, parse_stat, tier
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, roots_of, write


def _stat(busy_ms: int) -> str:
    return f"  500000  1000 40000000  4000000  100000  20000  8000000  800000  0  {busy_ms}  4800000"


def test_each_physical_disk_is_there_once(tmp_path: Path) -> None:
    """Stacks, partitions, multipath paths, memory and empty drives are not disks."""
    disks = DiskUsage(build("xeon-2s", tmp_path))
    probe = disks.probe()
    assert [(device.name, device.tier, device.size_bytes) for device in probe.devices] == [
        ("nvme0n1", report_pb2.DISK_TIER_NVME, 3750748848 * 512),
        ("sda", report_pb2.DISK_TIER_HDD, 35156656128 * 512),
        ("sdb", report_pb2.DISK_TIER_SSD, 3750748848 * 512),
    ]
    assert [finding.state for finding in probe.findings] == [WORKING]
    values = disks.read(0)
    assert len(values) == len(probe.series) == 15
    assert list(values[:5]) == [80000000 * 512, 160000000 * 512, 1000000, 2000000, 300_000_000]
    disks.close()


@pytest.mark.parametrize(
    ("name", "model", "transport", "rotational", "expected"),
    [
        ("nvme0n1", b"SAMSUNG MZQL2", b"pcie\n", b"0\n", report_pb2.DISK_TIER_NVME),
        ("nvme1n1", b"Linux", b"tcp\n", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
        ("nvme1n1", b"Amazon Elastic Block Store\n", b"pcie\n", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
        ("sda", b"ATA ST18000NM000J", b"", b"1\n", report_pb2.DISK_TIER_HDD),
        ("sda", b"ATA INTEL SSDSC2KB01", b"", b"0\n", report_pb2.DISK_TIER_SSD),
        ("sda", b"VMware Virtual disk", b"", b"1\n", report_pb2.DISK_TIER_VIRTUAL),
        ("sda", b"QEMU QEMU HARDDISK", b"", b"1\n", report_pb2.DISK_TIER_VIRTUAL),
        ("vda", b"0x1af4", b"", b"1\n", report_pb2.DISK_TIER_VIRTUAL),
        ("xvdb", b"", b"", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
        ("rbd0", b"", b"", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
    ],
)
def test_tiers(
    name: str, model: bytes, transport: bytes, rotational: bytes, expected: report_pb2.DiskTier.ValueType
) -> None:
    """A disk whose energy is spent elsewhere is virtual, whatever it says of its platters."""
    assert tier(name, model, transport, rotational) == expected


def test_busy_time_goes_on_where_the_kernel_wraps(tmp_path: Path) -> None:
    """The kernel's 32 bits of busy milliseconds wrap after 50 days; the series goes on."""
    roots = build("xeon-2s", tmp_path)
    stat = roots.sysfs / "block/sda/stat"
    write(stat, _stat(2**32 - 1))
    disks = DiskUsage(roots)
    disks.probe()
    assert disks.read(0)[9] == (2**32 - 1) * 1000
    write(stat, _stat(4))
    assert disks.read(1)[9] == (2**32 + 4) * 1000
    assert disks.read(2)[9] == (2**32 + 4) * 1000
    disks.close()


def test_a_disk_that_is_pulled_keeps_its_values(tmp_path: Path) -> None:
    """A vanished disk stands still and leaves the others alone."""
    roots = build("xeon-2s", tmp_path)
    disks = DiskUsage(roots)
    disks.probe()
    before = list(disks.read(0))
    (roots.sysfs / "block/sda/stat").write_text("")
    write(roots.sysfs / "block/sdb/stat", _stat(40_000))
    after = list(disks.read(1))
    assert after[:10] == before[:10]
    assert after[14] == 40_000_000
    disks.close()


def test_one_bad_disk_leaves_the_others(tmp_path: Path) -> None:
    """A disk without readable counters is named, and the rest are read."""
    roots = build("xeon-2s", tmp_path)
    write(roots.sysfs / "block/sda/stat", "?")
    disks = DiskUsage(roots)
    probe = disks.probe()
    assert [device.name for device in probe.devices] == ["nvme0n1", "sdb"]
    assert [finding.name for finding in probe.findings if finding.state == UNREADABLE] == ["disks:sda"]
    disks.close()


def test_no_disk_is_quiet(tmp_path: Path) -> None:
    """A diskless node has no disk source."""
    assert [finding.state for finding in DiskUsage(roots_of(tmp_path)).probe().findings] == [ABSENT]


def test_parse_stat() -> None:
    """Sectors are 512 bytes; old kernels end after eleven numbers."""
    assert parse_stat(b"1 2 3 4 5 6 7 8 9 10 11\n") == (1536, 3584, 1, 5, 10_000)


def test_this_machine() -> None:
    """The machine's own disks have a size and counters that do not fall."""
    disks = DiskUsage(Roots())
    probe = disks.probe()
    assert all(device.size_bytes > 0 for device in probe.devices)
    before, after = disks.read(0), disks.read(1)
    assert len(before) == len(probe.series)
    assert all(a <= b for a, b in zip(before, after, strict=True))
    disks.close()
