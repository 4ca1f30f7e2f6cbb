"""Ask SATA and SAS disks for their power mode and SMART figures, where that is switched on; none is woken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from joulebook.agent.clock import boot_us
from joulebook.agent.source import Metric, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.sysfs import text
from joulebook.agent.usage.beside import Answered, Told, Unread, answered
from joulebook.agent.usage.disk_rest import DiskRest, Moved
from joulebook.agent.usage.disks import Disk
from joulebook.agent.usage.smartctl import ACTIVE, STANDBY, SmartAnswer, Smartctl, SmartError, parse
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

# SMART figures move slowly, and reading them may keep a disk from resting: so many askings apart at least,
# and only where the disk moved data meanwhile.
_SMART_EVERY = 10
# What the kernel says of a disk that it has suspended, or is about to:
# Documentation/ABI/testing/sysfs-devices-power.
_SUSPENDED = (b"suspended", b"suspending")
# Options that let disks sleep came with these versions: for SAS, and for bridges that tell no power mode.
_FOR_SAS, _FOR_BRIDGES = (7, 2), (7, 3)
_SAT, _SCSI, _BRIDGE = "sat", "scsi", ""
# Where SAS disks keep errors that could not be mended, pending defects (from 7.3 on) and wear.
_SAS_LOGS = ["-l", "error", "-l", "defects", "-l", "ssd"]
_FAILING = 4
_MODE = m.METRIC_DEVICE_DISK_POWER_MODE
# The database of drives mends odd attributes and knows USB bridges; to read it takes longer than to ask.
NO_DATABASE = ("-B", "/dev/null")
_MOST_AT_ONCE_US = 60_000_000

FACTS = SourceFacts(
    name="smart",
    what="of each SATA and SAS disk its power mode (active, idle, standby), temperature, time powered on, "
    "reallocated and pending sectors, errors that could not be mended, wear and its own verdict; hard disks "
    "in standby are modelled as such",
    where="`smartctl --json -n idle` on `/dev/sd*` (`[agent.smart]`)",
    unit="°C, hours, sectors, errors, per cent",
    period="`agent.smart.period_s` (60 s), beside the tick; SMART figures every tenth time at most, of disks "
    "that are active and have moved data since",
    accuracy="as the disk tells; that it went to rest is noticed when it is asked next, that it woke when it "
    "moves data",
    privilege="smartmontools 7.0 (SAS 7.2, USB 7.3); `CAP_SYS_RAWIO` and group `disk` "
    "(`deploy/systemd/smart.conf`); off unless `agent.smart.enabled`",
    cost="beside the tick, a process a disk: p50 4.1 ms, p99 26 ms, 2.1 ms CPU for its power mode; with "
    "SMART figures 26 ms, 107 ms, 13 ms",
    documentation="smartctl(8); ATA ACS-5 CHECK POWER MODE, SPC-5 REQUEST SENSE; "
    "Documentation/ABI/testing/sysfs-devices-power",
)


class SmartConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.smart] of the configuration."""

    # Asks SATA and SAS disks for power mode and SMART figures by smartctl, and wakes none; needs
    # CAP_SYS_RAWIO, see deploy/systemd/smart.conf.
    enabled: bool = False
    period_s: float = 60.0

    def errors(self) -> list[str]:
        """Return what is wrong with the values."""
        if 10 <= self.period_s <= 3600:
            return []
        return [f"period_s = {self.period_s:g}: expected 10 to 3600 seconds"]


@dataclass(slots=True)
class _Known:
    """What a disk told last, and what it had moved when its SMART figures were read."""

    figures: dict[Metric, int] = field(default_factory=dict)
    moved: Moved | None = None
    smart_due: int = 0


class SmartDisks:
    """Asks each disk in turn by smartctl. Those that the kernel has suspended are not even opened."""

    name = "smart"
    absent = "agent.smart.enabled is false, or no SATA or SAS disk"

    def __init__(
        self,
        roots: Roots,
        config: SmartConfig,
        disks: Callable[[], Sequence[Disk]],
        rest: DiskRest,
        smartctl: Smartctl | None = None,
        clock: Callable[[], int] = boot_us,
    ) -> None:
        self._directory = roots.sysfs / "block"
        self._devfs = roots.devfs
        self._enabled = config.enabled
        self._disks = disks
        self._rest = rest
        self._smartctl = smartctl or Smartctl()
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asked = 0

    def is_there(self) -> bool:
        """Say whether it is switched on, and there is a disk."""
        return self._enabled and bool(self._own())

    def ask(self) -> Answered:
        """Ask every disk that is not suspended."""
        disks = self._own()
        self._known = {disk.device.name: self._known.get(disk.device.name, _Known()) for disk in disks}
        version = self._smartctl.version()
        told: list[Told] = []
        unread: list[Unread] = []
        began_us = self._clock()
        for disk in disks:
            name = disk.device.name
            known = self._known[name]
            moved = disk.last[:4]
            is_suspended = text(self._directory / name / "device/power/runtime_status") in _SUSPENDED
            known.figures[m.METRIC_DEVICE_DISK_SUSPENDED] = int(is_suspended)
            if not is_suspended:
                if self._clock() - began_us > _MOST_AT_ONCE_US:
                    unread.append(Unread(name, "not asked: those before it took too long", timed_out=True))
                    continue
                try:
                    answer = self._ask(name, version, known, moved)
                except SmartError as error:
                    self._rest.told(name, is_resting=False, moved=moved, now_us=self._clock())
                    unread.append(Unread(name, str(error), error.fix, timed_out=error.timed_out))
                    continue
                known.figures |= _figures(answer)
            rests = self._is_stopped(name) if is_suspended else known.figures[_MODE] == STANDBY
            self._rest.told(name, is_resting=rests, moved=moved, now_us=self._clock())
            told.append(Told(disk.device, dict(known.figures)))
        self._asked += 1
        return answered(told, unread)

    def _ask(self, name: str, version: tuple[int, int], known: _Known, moved: Moved) -> SmartAnswer:
        way = self._way(name)
        if way == _SCSI and version < _FOR_SAS:
            raise SmartError(
                _older(version), "install smartmontools 7.2 or later, which lets SAS disks sleep"
            )
        if way == _BRIDGE and version < _FOR_BRIDGES:
            raise SmartError(
                _older(version), "install smartmontools 7.3 or later, which lets USB disks sleep"
            )
        with_figures = self._asked >= known.smart_due and moved != known.moved
        arguments = ["--json=o", "-n", "idle,3,5" if version >= _FOR_BRIDGES else "idle,3", "-i"]
        if way:
            arguments += ["-d", way]
        if with_figures:
            arguments += ["-A", "-H"] + (_SAS_LOGS if way == _SCSI else [])
        elif way:
            arguments += NO_DATABASE
        answer = parse(*self._smartctl.run([*arguments, str(self._devfs / name)]))
        if with_figures and answer.mode == ACTIVE:
            known.moved, known.smart_due = moved, self._asked + _SMART_EVERY
        return answer

    def _way(self, name: str) -> str:
        """Say how a disk is spoken to. Told to smartctl, so that it tries nothing on a disk to find out."""
        if "/usb" in str((self._directory / name).resolve()):
            return _BRIDGE
        return _SAT if text(self._directory / name / "device/vendor") == b"ATA" else _SCSI

    def _is_stopped(self, name: str) -> bool:
        """Say whether the kernel stops a disk's spindle when it suspends it."""
        directory = self._directory / name / "device/scsi_disk"
        stops = ("manage_runtime_start_stop", "manage_start_stop")
        return any(text(path) == b"1" for stop in stops for path in directory.glob(f"*/{stop}"))

    def _own(self) -> list[Disk]:
        """Return the node's own disks that speak ATA or SCSI."""
        tiers = (report_pb2.DISK_TIER_SSD, report_pb2.DISK_TIER_HDD)
        return [d for d in self._disks() if d.device.tier in tiers and d.device.name.startswith("sd")]


def _figures(answer: SmartAnswer) -> dict[Metric, int]:
    found = {
        _MODE: answer.mode,
        m.METRIC_DEVICE_DISK_TEMPERATURE: answer.temperature_mc,
        m.METRIC_DEVICE_DISK_POWER_ON: answer.power_on_us,
        m.METRIC_DEVICE_DISK_REALLOCATED: answer.reallocated,
        m.METRIC_DEVICE_DISK_PENDING: answer.pending,
        m.METRIC_DEVICE_DISK_MEDIA_ERRORS: answer.media_errors,
        m.METRIC_DEVICE_DISK_USED: answer.used_ppm,
        m.METRIC_DEVICE_DISK_WARNINGS: None if answer.is_failing is None else _FAILING * answer.is_failing,
    }
    return {metric: value for metric, value in found.items() if value is not None}


def _older(version: tuple[int, int]) -> str:
    return f"smartctl {version[0]}.{version[1]} could wake it"
