"""What FreeIPMI's programs print: ipmi-raw(8), ipmi-sensors(8), freeipmi.conf(5)."""

import contextlib
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulebook.agent.meters.bmc import AskError

_CALLED = re.compile(r"(\S*/)?ipmi-[a-z]+: ")
_RECORD = re.compile(r"[0-9]{1,9}")
_RAW = re.compile(r"rcvd: ((?:[0-9A-F]{2} ?)+)\s*")
# Sensors that measure the whole node, as Dell, HPE, Lenovo, Supermicro, Intel and Fujitsu name them.
_WHOLE = re.compile(
    r"(?i)(pwr|pw) consumption|(sys|system|total|server|node|chassis)[ _.]*(input[ _.]*)?(pwr|power)"
    r"|(power|pwr)[ _.]*meter|(total|avg|average)[ _.]*(pwr|power)|input[ _]power|power[ _]consumption"
)
# The input of one power supply; what it gives out, and what parts draw, is less than the node draws.
_SUPPLY = re.compile(r"(?i)(psu?|pws|power supply|pwr supply)[ _.#]*\d+.*")
_NOT_INPUT = re.compile(r"(?i)out|pout|temp|fan|status")

_FIXES = (
    ("password invalid", "correct the password in agent.ipmi.credentials"),
    ("username invalid", "correct the user in agent.ipmi.credentials"),
    (
        "privilege level cannot be obtained",
        "give the BMC's user the privilege ADMIN; where it has it, add the line "
        "`workaround-flags opensesspriv` to agent.ipmi.credentials",
    ),
    (
        "connection timeout",
        "check that the BMC answers (agent.ipmi.address) and has IPMI over LAN switched on",
    ),
    ("session timeout", "check that the BMC answers (agent.ipmi.address); restart it if it hangs"),
    ("invalid hostname", "correct the BMC's name in agent.ipmi.address"),
    (
        "Config File Error",
        "correct agent.ipmi.credentials: lines of freeipmi.conf(5), such as `username NAME`",
    ),
    (
        "cipher suite",
        "allow cipher suite 3 or 17 on the BMC, or add `cipher-suite-id N` to the file",
    ),
    (
        "permission denied",
        "FreeIPMI asks for root in band: run the agent as root, or ask over LAN (agent.ipmi.address)",
    ),
)


@dataclass(frozen=True, slots=True)
class WattSensor:
    """A sensor in watts: its record in the BMC's repository, its name and what it read; -1: nothing."""

    record: int
    name: str
    power_mw: int


def parse_raw(text: str) -> bytes:
    """Parse ipmi-raw's line of bytes; return the answer from its completion code on."""
    match = _RAW.fullmatch(text)
    if match is None:
        raise AskError(f"ipmi-raw printed {text[:80]!r}: expected `rcvd: ` and bytes")
    return bytes.fromhex(match[1])[1:]


def parse_sensors(text: str) -> list[WattSensor]:
    """Parse ipmi-sensors' lines of record, name, type, reading, units, event; keep the watts."""
    sensors = []
    for row in _rows(text):
        if len(row) < 5 or row[4].strip() not in ("Watts", "W") or not _RECORD.fullmatch(row[0].strip()):
            continue
        try:
            power_mw = round(float(row[3]) * 1000)
        except (ValueError, OverflowError):
            power_mw = -1
        sensors.append(WattSensor(int(row[0]), row[1].strip(), power_mw))
    return sensors


def _rows(text: str) -> Iterator[list[str]]:
    """Give the lines of a table, up to where it is none any more."""
    with contextlib.suppress(csv.Error):
        yield from csv.reader(text.splitlines())


def choose_sensors(sensors: Sequence[WattSensor], named: Sequence[str] = ()) -> list[WattSensor]:
    """Choose the sensors whose sum is the node: those named, else the whole's, else all supplies' inputs."""
    names = [sensor.name for sensor in sensors]
    if named:
        missing = [name for name in named if name not in names]
        if missing:
            there = ", ".join(names) or "none"
            raise AskError(
                f"the BMC has no watt sensor {missing[0]!r}; it has {there}", "correct agent.ipmi.sensors"
            )
        return [sensor for sensor in sensors if sensor.name in named]
    whole = [sensor for sensor in sensors if _WHOLE.fullmatch(sensor.name)]
    if len(whole) == 1:
        return whole
    supplies = [s for s in sensors if _SUPPLY.fullmatch(s.name) and not _NOT_INPUT.search(s.name)]
    if supplies and not whole:
        return supplies
    there = ", ".join(names) or "none"
    raise AskError(
        f"which of the BMC's watt sensors is the node cannot be told: {there}",
        "name those to be summed in agent.ipmi.sensors, or use Redfish (agent.redfish.url)",
    )


def fault(program: str, text: str) -> AskError:
    """Return what a program complained of as an error with what mends it."""
    lines = text.strip().splitlines()
    reason = lines[-1].strip() if lines else "ended without a word"
    # They call themselves by the path that they were started by.
    reason = _CALLED.sub("", reason)
    reason = reason if reason.startswith("Config") else f"{program}: {reason}"
    fix = next((fix for words, fix in _FIXES if words in reason), "run the same command by hand to see more")
    return AskError(reason[:300], fix, timed_out="timeout" in reason)
