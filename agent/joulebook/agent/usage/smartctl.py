"""What smartctl says of a SATA or SAS disk: its JSON documents (smartctl(8)), and how it is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

# Exit status of a disk that is not active, and of one that does not tell its power mode: no bits of these two
# come together otherwise (smartctl(8), EXIT STATUS).
AT_REST, NO_POWER_MODE = 3, 5
_NOT_UNDERSTOOD, _NOT_OPENED = 1, 2
STANDBY, IDLE, ACTIVE = 0, 1, 2
# "ACTIVE or IDLE" is what ATA tells of a disk whose power management is off or that works.
_MODES = (("STANDBY", STANDBY), ("STOPPED", STANDBY), ("IDLE", IDLE), ("ACTIVE", ACTIVE))
_MODE = re.compile(r"(?:Device is in|Power mode (?:is|was):) +([A-Z][A-Z_]*)")
# Where the power check fails smartctl says so too: without the capability, or behind some USB bridges.
_ASLEEP = "SLEEP"
_REALLOCATED, _REPORTED, _PENDING, _UNREADABLE = 5, 187, 197, 198
_LEAST_C, _MOST_C = -60, 150
_US_AN_HOUR, _US_A_MINUTE = 3_600_000_000, 60_000_000
# A hundred years.
_MOST_HOURS = 876_600
_MOST_COUNT = 1 << 48
_MOST_BYTES = 1 << 20
_MOST_MESSAGE = 200
_KILL_S = 20.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

FIX_PROGRAM = (
    "install smartmontools (Debian, Ubuntu: apt-get install smartmontools; RHEL: dnf install smartmontools), "
    "or set agent.smart.enabled = false"
)
FIX_PRIVILEGE = (
    "give the agent CAP_SYS_RAWIO and the devices (group disk): deploy/systemd/smart.conf as a drop-in of "
    "its service, or run it as root; or set agent.smart.enabled = false"
)


class SmartError(OSError):
    """A disk or smartctl gives no answer that can be used; fix says what mends it."""

    def __init__(self, reason: str, fix: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.fix = fix
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class SmartAnswer:
    """What a disk told. mode: STANDBY, IDLE or ACTIVE; None is what it did not tell or was not asked.

    temperature in m°C, power_on in µs, shares in ppm; reallocated sectors (SAS: grown defects), pending ones,
    errors that could not be mended; is_failing: the disk's own verdict.
    """

    mode: int
    temperature_mc: int | None = None
    power_on_us: int | None = None
    reallocated: int | None = None
    pending: int | None = None
    media_errors: int | None = None
    used_ppm: int | None = None
    is_failing: bool | None = None


class Smartctl:
    """The program. It is asked for its version once: older ones lack options that let disks sleep."""

    def __init__(self, path: str | None = None, kill_s: float = _KILL_S) -> None:
        self._path = path
        self._kill_s = kill_s
        self._version: tuple[int, int] = (0, 0)

    def version(self) -> tuple[int, int]:
        """Return the program's version. SmartError: it is not installed, or older than JSON."""
        if self._version == (0, 0):
            # From 7.0 on; an older one does not know the option, and prints no JSON.
            _, data = self.run(("--json", "--version"))
            try:
                version = _document(data)["smartctl"]["version"]
                self._version = int(version[0]), int(version[1])
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise SmartError("smartctl prints no JSON", "install smartmontools 7.2 or later") from error
        return self._version

    def run(self, arguments: Sequence[str]) -> tuple[int, bytes]:
        """Run it; return its exit status and what it printed."""
        program = self._path or shutil.which("smartctl", path=os.environ.get("PATH", "") + ":" + _PATH)
        if program is None:
            raise SmartError("smartctl is not installed", FIX_PROGRAM)
        try:
            done = subprocess.run(
                [program, *arguments],
                capture_output=True,
                timeout=self._kill_s,
                check=False,
                stdin=subprocess.DEVNULL,
                env={"PATH": _PATH, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise SmartError(
                f"smartctl has not come back for {error.timeout:g} s",
                "look into the kernel's log for this disk (`journalctl -k`); replace it where it hangs",
                timed_out=True,
            ) from error
        except OSError as error:
            raise SmartError(f"smartctl cannot be run: {error}", FIX_PROGRAM) from error
        return done.returncode, done.stdout[:_MOST_BYTES]


def parse(status: int, data: bytes) -> SmartAnswer:
    """Parse a document of `smartctl --json=o -n idle,3,5 -i`, with or without figures; status: of its exit.

    SmartError: the disk does not tell its power mode, or smartctl could not ask it.
    """
    document = _document(data)
    told = _mapping(document.get("smartctl"))
    said = [str(_mapping(each).get("string", "")) for each in _items(told.get("messages"))]
    reason = "; ".join(filter(None, said))[:_MOST_MESSAGE] or f"smartctl ends with exit status {status}"
    lines = [*said, *map(str, _items(told.get("output")))]
    name = next((match[1] for line in lines if (match := _MODE.search(line))), "")
    if name.startswith(_ASLEEP):
        raise SmartError("tells no power mode: it sleeps, or CAP_SYS_RAWIO is missing", FIX_PRIVILEGE)
    mode = next((number for prefix, number in _MODES if name.startswith(prefix)), None)
    if status == NO_POWER_MODE:
        raise SmartError(
            f"{reason}: not asked for anything else, which could wake it",
            "nothing mends it where a USB bridge or RAID controller does not pass it on; "
            "agent.smart.enabled = false asks no disk",
        )
    if mode in (STANDBY, IDLE):
        return SmartAnswer(mode)
    if status & (_NOT_UNDERSTOOD | _NOT_OPENED):
        raise SmartError(reason, _fix_of(reason))
    if mode is None:
        raise SmartError(f"{reason}: no power mode in it", "compare with `smartctl -n idle -i`")
    return _figures(document, mode)


def _figures(document: Mapping[str, Any], mode: int) -> SmartAnswer:
    attributes = _attributes(document)
    celsius = _number(_mapping(document.get("temperature")).get("current"))
    if celsius is not None and not _LEAST_C <= celsius <= _MOST_C:
        raise SmartError(f"{celsius} °C: expected {_LEAST_C} to {_MOST_C}", "compare with `smartctl -A`")
    on = _mapping(document.get("power_on_time"))
    hours, minutes = _number(on.get("hours")), _number(on.get("minutes")) or 0
    if hours is not None and not 0 <= hours <= _MOST_HOURS:
        raise SmartError(
            f"powered on for {hours} hours: expected 0 to {_MOST_HOURS}", "compare with `smartctl -A`"
        )
    passed = _mapping(document.get("smart_status")).get("passed")
    used = _number(
        _mapping(document.get("endurance_used")).get("current_percent"),
        document.get("scsi_percentage_used_endurance_indicator"),
    )
    return SmartAnswer(
        mode=mode,
        # The books have no sign for it; no disk that works is below 0 °C for long.
        temperature_mc=max(0, celsius * 1000) if celsius is not None else None,
        power_on_us=hours * _US_AN_HOUR + minutes * _US_A_MINUTE if hours is not None else None,
        reallocated=_count(attributes.get(_REALLOCATED), document.get("scsi_grown_defect_list")),
        pending=_count(attributes.get(_PENDING), _mapping(document.get("scsi_pending_defects")).get("count")),
        media_errors=_count(attributes.get(_REPORTED), attributes.get(_UNREADABLE), _uncorrected(document)),
        # A disk may be used beyond what it was made for; a share ends at the whole.
        used_ppm=min(max(used, 0), 100) * 10_000 if used is not None else None,
        is_failing=not passed if isinstance(passed, bool) else None,
    )


def _attributes(document: Mapping[str, Any]) -> dict[int, Any]:
    """Return the raw values of ATA's attributes by their numbers."""
    rows = map(_mapping, _items(_mapping(document.get("ata_smart_attributes")).get("table")))
    return {row.get("id", 0): _mapping(row.get("raw")).get("value") for row in rows}


def _uncorrected(document: Mapping[str, Any]) -> int | None:
    """Add up what a SAS disk could not correct when it read, wrote and verified."""
    log = _mapping(document.get("scsi_error_counter_log"))
    counts = [_count(_mapping(log.get(kind)).get("total_uncorrected_errors")) for kind in log]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _fix_of(reason: str) -> str:
    low = reason.lower()
    if "permission denied" in low or "not permitted" in low:
        return FIX_PRIVILEGE
    if "usb bridge" in low:
        return "install a smartmontools that knows the bridge, or set agent.smart.enabled = false"
    if "megaraid" in low or "raid" in low:
        return "disks behind a RAID controller are not asked; or set agent.smart.enabled = false"
    return "compare with `smartctl -i`; replace the disk where it fails"


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        # What a disk calls itself is quoted as it came.
        return _mapping(msgspec.json.decode(data.decode(errors="replace")))
    except msgspec.DecodeError as error:
        raise SmartError(f"smartctl prints {data[:40]!r}: expected JSON", FIX_PROGRAM) from error


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> Iterator[object]:
    return iter(value if isinstance(value, list) else ())


def _number(*values: object) -> int | None:
    """Return the first that is a whole number."""
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool)), None)


def _count(*values: object) -> int | None:
    """Return the first that can be a count; some attributes hold other things in their upper bytes."""
    numbers = (number for value in values if (number := _number(value)) is not None)
    return next((number for number in numbers if 0 <= number < _MOST_COUNT), None)
