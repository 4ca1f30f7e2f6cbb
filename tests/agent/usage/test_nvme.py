"""NVMe disks are asked while they are awake, and one that sleeps is let sleep."""

import errno
from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, UNREADABLE, Roots
from joulebook.agent.usage.beside import Beside, UnreadError
from joulebook.agent.usage.nvme import NvmeConfig, NvmeDisks
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.agent.usage.test_nvme_admin import identify, smart_log
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
IDENTIFY, GET_FEATURES, GET_LOG_PAGE = 0x06, 0x0A, 0x02


class Controllers:
    """Disks in a tree of files, and what they answer; every command is noted."""

    def __init__(self, directory: Path) -> None:
        self.roots: Roots = roots_of(directory)
        self.sent: list[tuple[str, int]] = []
        self.state = 1
        self.log = smart_log(313, b5=3)
        self.error: Exception | None = None

    def add(self, name: str, status: str = "active", transport: str = "pcie") -> None:
        """Plug one in."""
        at = self.roots.sysfs / "class/nvme" / name
        for attribute, text in (("transport", transport), ("model", f"Disk {name}"), ("serial", f"S-{name}")):
            write(at / attribute, text)
        self.turn(name, status)

    def turn(self, name: str, status: str) -> None:
        """Have the kernel say this of it."""
        write(self.roots.sysfs / "class/nvme" / name / "device/power/runtime_status", status)

    def admin(self, device: Path, opcode: int, _nsid: int, _cdw10: int, _size: int) -> tuple[int, bytes]:
        """Answer a command."""
        assert device.parent == self.roots.devfs
        self.sent.append((device.name, opcode))
        if self.error is not None:
            raise self.error
        data = {IDENTIFY: identify((825, 0), (450, 0), (500, 3)), GET_FEATURES: b"", GET_LOG_PAGE: self.log}
        return self.state, data[opcode]

    def disks(self, *, enabled: bool = True) -> NvmeDisks:
        """Return who asks them."""
        return NvmeDisks(self.roots, NvmeConfig(enabled=enabled), self.admin)


@pytest.fixture
def controllers(tmp_path: Path) -> Controllers:
    """Return a node with a disk."""
    made = Controllers(tmp_path)
    made.add("nvme0")
    return made


def _values(disks: NvmeDisks, name: str = "nvme0") -> dict[int, int]:
    (told,) = [told for told in disks.ask().told if told.device.name == name]
    return {int(metric): value for metric, value in told.values.items()}


def test_an_awake_disk_tells_its_state_and_its_health(controllers: Controllers) -> None:
    """Every figure in the catalogue's unit, and what the disk is."""
    (told,) = controllers.disks().ask().told
    assert (told.device.kind, told.device.uuid, told.device.model) == (
        report_pb2.DEVICE_KIND_NVME,
        "S-nvme0",
        "Disk nvme0",
    )
    assert told.values == {
        m.METRIC_DEVICE_DISK_POWER_STATE: 1,
        m.METRIC_DEVICE_DISK_STATE_POWER: 4500,
        m.METRIC_DEVICE_DISK_TEMPERATURE: 39_850,
        m.METRIC_DEVICE_DISK_SPARE: 1_000_000,
        m.METRIC_DEVICE_DISK_USED: 30_000,
        m.METRIC_DEVICE_DISK_MEDIA_ERRORS: 0,
        m.METRIC_DEVICE_DISK_WARNINGS: 0,
        m.METRIC_DEVICE_DISK_SUSPENDED: 0,
    }


@pytest.mark.parametrize("status", ["suspended", "suspending", "resuming", "error", "unsupported", ""])
def test_no_command_goes_to_a_disk_that_is_not_awake(controllers: Controllers, status: str) -> None:
    """Whatever else the kernel says of it: no ioctl, its figures stand, and it is told as suspended."""
    disks = controllers.disks()
    before = _values(disks)
    controllers.turn("nvme0", status)
    controllers.add("nvme1")
    controllers.sent.clear()
    for _ in range(40):
        after = _values(disks)
    assert after == before | {m.METRIC_DEVICE_DISK_SUSPENDED: 1}
    assert {name for name, _ in controllers.sent} == {"nvme1"}
    # One that was never awake has nothing but that.
    controllers.add("nvme2", status)
    assert _values(disks, "nvme2") == {m.METRIC_DEVICE_DISK_SUSPENDED: 1}


def test_a_disk_at_rest_is_asked_for_its_state_alone(controllers: Controllers) -> None:
    """In a state that serves nothing the log is let be; awake it is asked for every five minutes."""
    controllers.state = 2
    disks = controllers.disks()
    for _ in range(40):
        values = _values(disks)
    assert values[m.METRIC_DEVICE_DISK_STATE_POWER] == 50
    assert m.METRIC_DEVICE_DISK_SPARE not in values
    assert {opcode for _, opcode in controllers.sent} == {IDENTIFY, GET_FEATURES}
    controllers.state = 0
    controllers.sent.clear()
    for _ in range(61):
        disks.ask()
    assert [opcode for _, opcode in controllers.sent].count(GET_LOG_PAGE) == 3
    assert [opcode for _, opcode in controllers.sent].count(IDENTIFY) == 0


def test_denial_says_what_mends_it(controllers: Controllers) -> None:
    """Without the capability every disk refuses: the fix names capability, drop-in and the switch."""
    controllers.error = PermissionError(errno.EPERM, "Operation not permitted")
    with pytest.raises(UnreadError, match="nvme0: Operation not permitted") as caught:
        controllers.disks().ask()
    for word in ("CAP_SYS_ADMIN", "deploy/systemd/nvme.conf", "agent.nvme.enabled"):
        assert word in caught.value.fix
    source = Beside(controllers.disks(), period_us=10 * S, timeout_us=10 * S, patience_s=60)
    (finding,) = source.probe().findings
    source.close()
    assert (finding.state, finding.fix) == (UNREADABLE, caught.value.fix)


@pytest.mark.parametrize(
    ("state", "log", "reason"),
    [(7, smart_log(), "power state 7: expected 0 to 2"), (0, b"\xff" * 512, "65535 K"), (0, b"", "0 bytes")],
)
def test_an_answer_that_is_none_leaves_the_other_disks(
    controllers: Controllers, state: int, log: bytes, reason: str
) -> None:
    """A disk that answers nonsense is named; one beside it that sleeps is told of."""
    controllers.add("nvme1", "suspended")
    controllers.state, controllers.log = state, log
    answered = controllers.disks().ask()
    assert [told.device.name for told in answered.told] == ["nvme1"]
    assert [(one.name, reason in one.reason) for one in answered.unread] == [("nvme0", True)]


def test_a_node_of_several_disks(tmp_path: Path) -> None:
    """Disks on PCIe are asked, but for one that is suspended; one served over a network is not there."""
    controllers = Controllers(tmp_path / "none")
    controllers.roots = build("nvme", tmp_path)
    told = {one.device.name: one for one in controllers.disks().ask().told}
    assert {(one.device.model, one.device.uuid) for one in told.values()} == {
        ("SAMSUNG MZQL27T6HBLA-00A07", "S6CKNN0T000001"),
        ("KIOXIA KCD8XPUG7T68", "X3A0A0010001"),
    }
    assert told["nvme0"].values[m.METRIC_DEVICE_DISK_STATE_POWER] == 4500
    assert told["nvme1"].values == {m.METRIC_DEVICE_DISK_SUSPENDED: 1}
    assert {name for name, _ in controllers.sent} == {"nvme0"}


def test_a_file_that_is_no_disk_says_what_mends_it(tmp_path: Path) -> None:
    """Where /dev/nvme* takes no admin command the disk is named as unread, with what is to be done."""
    answered = NvmeDisks(build("nvme", tmp_path), NvmeConfig(enabled=True)).ask()
    (unread,) = answered.unread
    assert (unread.name, bool(unread.reason), bool(unread.fix)) == ("nvme0", True, True)
    assert [one.device.name for one in answered.told] == ["nvme1"]


def test_nothing_is_asked_that_nobody_wants(controllers: Controllers) -> None:
    """Switched off, as by default, or with disks behind a network alone, there is nothing to ask."""
    assert not NvmeConfig().enabled
    off = Beside(controllers.disks(enabled=False), period_us=10 * S, timeout_us=10 * S, patience_s=60)
    (finding,) = off.probe().findings
    assert finding.state == ABSENT
    assert "agent.nvme.enabled" in finding.reason
    far = Controllers(controllers.roots.sysfs / "far")
    far.add("nvme0", transport="tcp")
    assert not far.disks().is_there()
    assert controllers.disks().is_there()
    assert controllers.sent == far.sent == []
