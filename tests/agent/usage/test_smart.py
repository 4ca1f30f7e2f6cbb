"""SATA and SAS disks are asked for what does not disturb them, and one that rests stays at rest."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, UNREADABLE, Roots
from joulebook.agent.usage.beside import Beside, UnreadError
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.smart import SmartConfig, SmartDisks
from joulebook.agent.usage.smartctl import FIX_PRIVILEGE, Smartctl, SmartError
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.agent.usage.test_smartctl import HOUR_US, recorded
from tests.fixtures.trees import build, write

S = 1_000_000
_STAT = "{reads} 1000 {sectors} 4000000 100000 20000 8000000 800000 0 3500000 4800000"


class Program(Smartctl):
    """smartctl with recorded answers; every call is noted."""

    def __init__(self, version: tuple[int, int] = (7, 3)) -> None:
        super().__init__()
        self.told = version
        self.calls: list[list[str]] = []
        # By device: the power mode's line, and which document has the figures.
        self.mode: dict[str, str] = {}
        self.document: dict[str, str] = {}
        self.error: dict[str, SmartError] = {}
        self.failing = b""

    def version(self) -> tuple[int, int]:
        return self.told

    def run(self, arguments: Sequence[str]) -> tuple[int, bytes]:
        self.calls.append(list(arguments))
        name = Path(arguments[-1]).name
        if name in self.error:
            raise self.error[name]
        if self.failing:
            # The disk's own verdict is a bit of the exit status.
            return 8, self.failing
        mode = self.mode.get(name, "ACTIVE or IDLE")
        if not mode.startswith("ACTIVE"):
            return 3, json.dumps(
                {"smartctl": {"messages": [{"string": f"Device is in {mode} mode, exit(3)"}]}}
            ).encode()
        document = recorded(self.document.get(name, "hgst-hus726040ale614"), f"Power mode is:    {mode}")
        if "-A" not in arguments:
            document = {"smartctl": document["smartctl"]}
        return 0, json.dumps(document).encode()

    def asked(self, name: str) -> list[list[str]]:
        """Return what was asked of a disk."""
        return [call for call in self.calls if call[-1].endswith(name)]


class Node:
    """Disks in a tree of files, and who asks them."""

    def __init__(self, directory: Path, kind: str = "xeon-2s", version: tuple[int, int] = (7, 3)) -> None:
        self.roots: Roots = build(kind, directory)
        self.usage = DiskUsage(self.roots)
        self.usage.probe()
        self.program = Program(version)
        self.rest = DiskRest(180 * S)
        self.now_us = 0

    def disks(self, *, enabled: bool = True) -> SmartDisks:
        """Return who asks them."""
        return SmartDisks(
            self.roots,
            SmartConfig(enabled=enabled),
            lambda: self.usage.disks,
            self.rest,
            self.program,
            lambda: self.now_us,
        )

    def say(self, name: str, status: str) -> None:
        """Have the kernel say this of a disk."""
        write(self.roots.sysfs / "block" / name / "device/power/runtime_status", status)

    def move(self, name: str, reads: int) -> None:
        """Have a disk read."""
        write(
            self.roots.sysfs / "block" / name / "stat",
            _STAT.format(reads=reads, sectors=40_000_000 + 8 * reads),
        )
        self.now_us += S
        self.usage.read(self.now_us)

    def rests(self, name: str) -> bool:
        """Say whether the model takes a disk for resting."""
        (disk,) = [disk for disk in self.usage.disks if disk.device.name == name]
        return self.rest.rests(name, moved=disk.last[:4], now_us=self.now_us)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node with a SATA hard disk (sda), a SATA SSD (sdb) and an NVMe disk."""
    return Node(tmp_path)


def _values(disks: SmartDisks, name: str = "sda") -> dict[int, int]:
    (told,) = [told for told in disks.ask().told if told.device.name == name]
    return {int(metric): value for metric, value in told.values.items()}


def test_a_disk_at_work_tells_everything_as_the_disk_that_it_is(node: Node) -> None:
    """Figures in the catalogue's units, of the device whose IO is counted; NVMe is another source's."""
    told = {one.device: one.values for one in node.disks().ask().told}
    assert set(told) == {disk.device for disk in node.usage.disks if disk.device.name.startswith("sd")}
    (hdd,) = [values for device, values in told.items() if device.tier == report_pb2.DISK_TIER_HDD]
    assert hdd == {
        m.METRIC_DEVICE_DISK_SUSPENDED: 0,
        m.METRIC_DEVICE_DISK_POWER_MODE: 2,
        m.METRIC_DEVICE_DISK_TEMPERATURE: 31_000,
        m.METRIC_DEVICE_DISK_POWER_ON: 42_454 * HOUR_US,
        m.METRIC_DEVICE_DISK_REALLOCATED: 0,
        m.METRIC_DEVICE_DISK_PENDING: 0,
        m.METRIC_DEVICE_DISK_MEDIA_ERRORS: 0,
        m.METRIC_DEVICE_DISK_WARNINGS: 0,
    }
    for call in node.program.calls:
        # Nothing is tried on a disk to find out what it is, and nothing asked of one that rests.
        assert call[call.index("-n") + 1] == "idle,3,5"
        assert call[call.index("-d") + 1] == "sat"


def test_figures_are_read_seldom_and_only_of_disks_that_move_data(node: Node) -> None:
    """A disk that nobody uses is asked for its mode alone, so that its timers run out; its figures stand."""
    disks = node.disks()
    first = _values(disks)
    for _ in range(40):
        assert _values(disks) == first
    with_figures = ["-A" in call for call in node.program.asked("sda")]
    assert with_figures == [True] + [False] * 40
    assert all("-B" in call for call in node.program.asked("sda")[1:])
    for ask in range(40):
        node.move("sda", 600_000 + ask)
        disks.ask()
    assert sum("-A" in call for call in node.program.asked("sda")[41:]) == 4


def test_standby_is_told_and_ends_with_what_the_disk_moves(node: Node) -> None:
    """The mode is news, the figures stand; it counts as resting until it moves data or tells otherwise."""
    disks = node.disks()
    first = _values(disks)
    assert not node.rests("sda")
    node.program.mode["sda"] = "STANDBY_Z"
    assert _values(disks) == first | {m.METRIC_DEVICE_DISK_POWER_MODE: 0}
    assert node.rests("sda")
    assert not node.rests("sdb")
    node.move("sda", 700_000)
    assert not node.rests("sda")
    # It went back to rest before it was asked again.
    disks.ask()
    assert node.rests("sda")
    node.program.mode["sda"] = "IDLE_A"
    assert _values(disks)[m.METRIC_DEVICE_DISK_POWER_MODE] == 1
    assert not node.rests("sda")
    node.program.mode["sda"] = "STANDBY"
    disks.ask()
    node.program.error["sda"] = SmartError("gone", "plug it in")
    disks.ask()
    assert not node.rests("sda")


@pytest.mark.parametrize("stops", [True, False])
def test_a_suspended_disk_is_not_even_opened(node: Node, stops: bool) -> None:
    """To open it would wake it; it rests where the kernel stops its spindle, which its attribute says."""
    disks = node.disks()
    first = _values(disks)
    node.say("sda", "suspended")
    write(node.roots.sysfs / "block/sda/device/scsi_disk/0:0:0:0/manage_runtime_start_stop", int(stops))
    node.program.calls.clear()
    assert _values(disks) == first | {m.METRIC_DEVICE_DISK_SUSPENDED: 1}
    assert node.program.asked("sda") == []
    assert len(node.program.asked("sdb")) == 1
    assert node.rests("sda") == stops
    node.say("sda", "active")
    assert _values(disks) == first


@pytest.mark.parametrize(
    ("vendor", "on_usb", "version", "options", "reason"),
    [
        ("ATA", False, (7, 0), "-n idle,3 -i -d sat", ""),
        ("SEAGATE", False, (7, 2), "-n idle,3 -i -d scsi", ""),
        ("SEAGATE", False, (7, 3), "-n idle,3,5 -i -d scsi", ""),
        ("SEAGATE", False, (7, 1), "", "smartctl 7.1 could wake it"),
        ("ATA", True, (7, 3), "-n idle,3,5 -i", ""),
        ("ATA", True, (7, 2), "", "smartctl 7.2 could wake it"),
    ],
)
def test_no_version_is_asked_in_a_way_that_wakes(
    tmp_path: Path, vendor: str, on_usb: bool, version: tuple[int, int], options: str, reason: str
) -> None:
    """Options that came later are not used, and disks that need them are left alone with what mends it."""
    node = Node(tmp_path, version=version)
    block = node.roots.sysfs / "block/sda"
    if on_usb:
        place = node.roots.sysfs / "devices/pci0000:00/usb2/2-1/2-1:1.0/host9/target9:0:0/9:0:0:0/block/sda"
        place.parent.mkdir(parents=True)
        block.resolve().rename(place)
        block.unlink()
        block.symlink_to(place)
    write(block / "device/vendor", vendor)
    answered = node.disks().ask()
    calls = node.program.asked("sda")
    if reason:
        assert [(one.name, one.reason) for one in answered.unread] == [("sda", reason)]
        assert "or later" in answered.unread[0].fix
        assert calls == []
    else:
        assert " ".join(calls[0][1:]).startswith(options)
        logs = "-l error -l defects -l ssd" if vendor != "ATA" else ""
        assert " ".join(calls[0]).partition("-A -H ")[2].startswith(f"{logs} {node.roots.devfs}".strip())


def test_a_disk_that_refuses_leaves_the_others(node: Node) -> None:
    """It is named with what mends it; where all refuse nothing is told."""
    refused = SmartError("tells no power mode", FIX_PRIVILEGE)
    node.program.error["sda"] = refused
    answered = node.disks().ask()
    assert [one.device.name for one in answered.told] == ["sdb"]
    assert [(one.name, one.fix) for one in answered.unread] == [("sda", FIX_PRIVILEGE)]
    node.program.error["sdb"] = refused
    with pytest.raises(UnreadError, match="sda: tells no power mode; sdb: ") as caught:
        node.disks().ask()
    for word in ("CAP_SYS_RAWIO", "group disk", "deploy/systemd/smart.conf", "agent.smart.enabled"):
        assert word in caught.value.fix
    source = Beside(node.disks(), period_us=60 * S, timeout_us=90 * S, patience_s=60)
    (finding,) = source.probe().findings
    source.close()
    assert (finding.state, finding.fix) == (UNREADABLE, caught.value.fix)


def test_a_failing_disk_warns(node: Node) -> None:
    """Its own verdict is a warning of its reliability."""
    document = recorded("hgst-hus726040ale614", "Power mode is:    ACTIVE or IDLE")
    document["smart_status"]["passed"] = False
    node.program.failing = json.dumps(document).encode()
    assert _values(node.disks())[m.METRIC_DEVICE_DISK_WARNINGS] == 4


def test_nothing_is_asked_that_nobody_wants(node: Node, tmp_path: Path) -> None:
    """Switched off, as by default, or without SATA and SAS disks of its own, a node has nothing to ask."""
    assert not SmartConfig().enabled
    off = Beside(node.disks(enabled=False), period_us=60 * S, timeout_us=90 * S, patience_s=60)
    (finding,) = off.probe().findings
    assert finding.state == ABSENT
    assert "agent.smart.enabled" in finding.reason
    (tmp_path / "virtual").mkdir()
    assert not Node(tmp_path / "virtual", "vm").disks().is_there()
    assert node.disks().is_there()
    assert node.program.calls == []


def test_a_period_is_checked() -> None:
    """Too often or too seldom is refused with what is expected."""
    assert SmartConfig().errors() == []
    assert SmartConfig(period_s=5).errors() == ["period_s = 5: expected 10 to 3600 seconds"]
