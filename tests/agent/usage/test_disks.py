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
    assert len(values) == len(probe.series) == 30
    assert list(values[:5]) == [80000000 * 512, 160000000 * 512, 1000000, 2000000, 300_000_000]
    assert list(values[5:10]) == [200_000_000, 400_000_000, 600_000_000, 0, 10_000]
    disks.close()


def test_disks_under_stacks_are_there_once_with_their_tiers(tmp_path: Path) -> None:
    """Of a server of stacks the disks alone; two paths of one are one, and add up."""
    disks = DiskUsage(build("stacks", tmp_path))
    probe = disks.probe()
    assert [(device.name, device.tier) for device in probe.devices] == [
        ("nvme0n1", report_pb2.DISK_TIER_NVME),
        ("sda", report_pb2.DISK_TIER_HDD),
        ("sdb", report_pb2.DISK_TIER_HDD),
        ("sdc", report_pb2.DISK_TIER_SSD),
    ]
    assert "data-home lies on nvme0n1 (nvme), sda (hdd), sdb (hdd)" in probe.findings[0].reason
    assert disks.read(0)[30] == 2 * 400_000 * 512
    disks.close()


@pytest.mark.parametrize(
    ("name", "model", "transport", "rotational", "expected"),
    [
        ("nvme0n1", b"SAMSUNG MZQL2", b"pcie\n", b"0\n", report_pb2.DISK_TIER_NVME),
        ("nvme1n1", b"Linux", b"tcp\n", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
        ("nvme1n1", b"Amazon Elastic Block Store\n", b"pcie\n", b"0\n", report_pb2.DISK_TIER_VIRTUAL),
        ("sda", b"ATA ST18000NM000J", b"", b"1\n", report_pb2.DISK_TIER_HDD),
        ("sda", b"ATA INTEL SSDSC2KB01", b"", b"0\n", report_pb2.DISK_TIER_SSD),
        ("mmcblk0", b"", b"", b"0\n", report_pb2.DISK_TIER_SSD),
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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sys/devices/platform/host7/session1/target7:0:0/7:0:0:0/block/sdc", report_pb2.DISK_TIER_VIRTUAL),
        ("/sys/devices/pci0000:00/0000:3b:00.0/host1/rport-1:0-2/target1:0:0/1:0:0:0/block/sdd", 4),
        ("/sys/devices/pci0000:00/0000:3b:00.0/host0/port-0:0/end_device-0:0/target0:0:0/block/sde", 3),
    ],
)
def test_disks_of_a_san_are_spent_elsewhere(path: str, expected: report_pb2.DiskTier.ValueType) -> None:
    """What iSCSI or Fibre Channel brings is not in this node; SAS is."""
    assert tier("sdc", b"DELL MD36xx", b"", b"1\n", path) == expected


def test_two_paths_to_a_disk_are_one_disk(tmp_path: Path) -> None:
    """Under multipath a disk is there once, with what was done over every path."""
    roots = roots_of(tmp_path)
    for name, reads in (("sda", 10), ("sdb", 7)):
        write(roots.sysfs / f"block/{name}/size", 1000)
        write(roots.sysfs / f"block/{name}/stat", f"{reads} 0 16 3 0 0 0 0 0 5 6")
        write(roots.sysfs / f"block/{name}/dev", f"8:{reads}")
        write(roots.sysfs / f"block/dm-0/slaves/{name}/size", 1000)
    write(roots.sysfs / "block/dm-0/size", 1000)
    write(roots.sysfs / "block/dm-0/dm/uuid", "mpath-3600508b400105e21")
    write(roots.sysfs / "block/dm-0/dm/name", "mpatha")
    disks = DiskUsage(roots)
    probe = disks.probe()
    assert [device.name for device in probe.devices] == ["sda"]
    assert probe.findings[0].reason == "mpatha lies on sda (ssd)"
    assert list(disks.read(0))[:3] == [32 * 512, 0, 17]
    assert disks.domains() == {b"8:10": "disk.sda", b"8:7": "disk.sda"}
    disks.close()


def test_a_jump_is_dropped_and_told(tmp_path: Path) -> None:
    """A second in which a disk read an exabyte is not counted, nor what a glitch at 0 would make of it."""
    roots = build("xeon-2s", tmp_path)
    disks = DiskUsage(roots)
    disks.probe()
    before = list(disks.read(0))
    stat = roots.sysfs / "block/sda/stat"
    good = stat.read_text()
    for second, content in enumerate((f"9 9 {10**18} 9 9 9 9 9 0 9 9", "0 0 0 0 0 0 0 0 0 0 0"), start=1):
        write(stat, content)
        assert list(disks.read(second * 1_000_000)) == before
    stat.write_text(good)
    assert list(disks.read(3_000_000)) == before
    (finding,) = disks.findings()
    assert finding.reason.startswith("readings dropped: 2")
    disks.close()


def test_busy_time_goes_on_where_the_kernel_wraps(tmp_path: Path) -> None:
    """The kernel's 32 bits of busy milliseconds wrap after 50 days; the series goes on."""
    roots = build("xeon-2s", tmp_path)
    stat = roots.sysfs / "block/sda/stat"
    write(stat, _stat(2**32 - 1))
    disks = DiskUsage(roots)
    disks.probe()
    assert disks.read(0)[14] == (2**32 - 1) * 1000
    write(stat, _stat(4))
    assert disks.read(1)[14] == (2**32 + 4) * 1000
    assert disks.read(2)[14] == (2**32 + 4) * 1000
    assert disks.findings() == ()
    disks.close()


def test_a_disk_that_is_pulled_keeps_its_values(tmp_path: Path) -> None:
    """A vanished disk stands still and leaves the others alone."""
    roots = build("xeon-2s", tmp_path)
    disks = DiskUsage(roots)
    disks.probe()
    before = list(disks.read(0))
    (roots.sysfs / "block/sda/stat").write_text("")
    stat = "5000 1000 400000 40000 1000 2000 80000 8000 0 40000 48000"
    write(roots.sysfs / "block/sdb/stat", stat)
    after = list(disks.read(1))
    assert after[:20] == before[:20]
    assert after[24] == 40_000_000
    (finding,) = disks.findings()
    assert finding.name == "disks:sda"
    assert finding.reason.startswith("readings dropped: 1;")
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
    """Sectors are 512 bytes; old kernels end after eleven numbers, newer ones after fifteen or seventeen."""
    eleven = (1536, 3584, 1, 5, 10_000, 4_000, 8_000, 11_000)
    assert parse_stat(b"1 2 3 4 5 6 7 8 9 10 11\n") == (*eleven, 0, 0)
    assert parse_stat(b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n") == (*eleven, 14 * 512, 0)
    assert parse_stat(b"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n") == (*eleven, 14 * 512, 16)
    for damaged in (b"", b"1 2 3", b"-1 2 3 4 5 6 7 8 9 10 11", b"\xff" * 200, b"9 " * 100_000):
        with pytest.raises(ValueError, match=r"stat|invalid literal"):
            parse_stat(damaged)


def test_this_machine() -> None:
    """The machine's own disks have a size and counters that do not fall."""
    disks = DiskUsage(Roots())
    probe = disks.probe()
    assert all(device.size_bytes > 0 for device in probe.devices)
    before, after = disks.read(0), disks.read(1)
    assert len(before) == len(probe.series)
    assert all(a <= b for a, b in zip(before, after, strict=True))
    disks.close()
