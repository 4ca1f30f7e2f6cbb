"""What Redfish's documents tell of a node's power: DMTF DSP0268, Power, EnvironmentMetrics, Sensor."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from joulebook.agent.meters.bmc import AskError, NodePower

Document = dict[str, Any]

_UJ_PER_KWH = 3_600_000_000_000
_UJ_PER_J = 1_000_000
# A PowerControl of these is a part of what another one measures.
_PARTS = frozenset(
    (
        *("accelerator", "asic", "cpu", "cpusubsystem", "fan", "gpu", "gpusubsystem", "memory"),
        *("memorysubsystem", "networkingdevice", "storagedevice", "storagesubsystem", "voltageregulator"),
    )
)
# A mean over longer says nothing of what runs now.
_MOST_MINUTES = 10
_PART_ITEM = re.compile(r"/(Processors|Memory|Drives|Fans|NetworkAdapters)(/|$)")
_PATH = re.compile(r"/[!-~]{0,2000}")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_SERIAL = frozenset(("", "0", "none", "n/a", "default string", "to be filled by o.e.m.", "not specified"))


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """What DMI says this machine is; "": not told."""

    uuid: str = ""
    serial: str = ""


def number(value: object) -> Decimal | None:
    """Return a JSON number; None: null, absent, or no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    exact = Decimal(value)
    return exact if exact.is_finite() and abs(exact) < 10**15 else None


def at(document: Document, *keys: str) -> object:
    """Return what is at a place within a document; None: nothing."""
    found: object = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def link(document: Document, *keys: str) -> str:
    """Return the path of a reference within a document; "": there is none."""
    path = at(document, *keys, "@odata.id")
    # No other signs may stand in a request's first line: RFC 3986 has them escaped.
    return path if isinstance(path, str) and _PATH.fullmatch(path) else ""


def links(value: object) -> list[str]:
    """Return the paths of a list of references."""
    members = value if isinstance(value, list) else []
    return [path for member in members if isinstance(member, dict) and (path := link({"to": member}, "to"))]


def is_this_host(system: Document, host: HostIdentity) -> bool:
    """Say whether a ComputerSystem is the machine that DMI describes.

    SMBIOS stores the first three parts of a UUID in the other byte order, which not every BMC minds.
    """
    uuid = str(system.get("UUID") or "").lower()
    if _UUID.fullmatch(uuid) and host.uuid.lower() in (uuid, _swapped(uuid)):
        return True
    serial = str(system.get("SerialNumber") or "").strip().lower()
    return serial not in _NO_SERIAL and serial == host.serial.strip().lower()


def environment_power(document: Document) -> NodePower | None:
    """Return the power in an EnvironmentMetrics document; None: it tells none."""
    energy_uj, step_uj = _energy(document)
    watts = number(at(document, "PowerWatts", "Reading"))
    if watts is None:
        return None
    return NodePower(_mw(watts), _step_mw(watts), 0, energy_uj, step_uj, "EnvironmentMetrics")


def sensor_window_us(sensor: Document) -> int:
    """Return the longer of a Sensor's averaging and sensing intervals; 0: not told."""
    return max(duration_us(sensor.get(key)) for key in ("AveragingInterval", "SensingInterval"))


def control_power(document: Document, path: str) -> NodePower:
    """Return the sum of a Power document's PowerControl members, parts of others left out."""
    controls = document.get("PowerControl")
    members = [one for one in controls if isinstance(one, dict)] if isinstance(controls, list) else []
    whole = [one for one in members if not _is_part(one)] or members
    told = [(one, _consumed(one)) for one in whole]
    read = [consumed for _, consumed in told if consumed is not None]
    if not read:
        raise AskError(f"{path}: no PowerControl tells PowerConsumedWatts")
    if len(read) < len(whole):
        silent = next(one for one, consumed in told if consumed is None)
        raise AskError(f"{path}: PowerControl {silent.get('Name')!r} tells no PowerConsumedWatts")
    power_mw = _mw(sum((watts for watts, _ in read), Decimal(0)))
    window_us = max(window_us for _, window_us in read)
    return NodePower(power_mw, sum(_step_mw(watts) for watts, _ in read), window_us, way="Power")


def supply_power(metrics: Sequence[Document], path: str) -> NodePower:
    """Return the sum of what power supplies take in, of their PowerSupplyMetrics documents."""
    watts = [number(at(one, "InputPowerWatts", "Reading")) for one in metrics]
    known = [one for one in watts if one is not None]
    if not known or len(known) < len(watts):
        raise AskError(
            f"{path}: {len(watts) - len(known)} of {len(watts)} power supplies tell no InputPowerWatts"
        )
    return NodePower(_mw(sum(known, Decimal(0))), sum(map(_step_mw, known)), way="PowerSupplies")


def duration_us(value: object) -> int:
    """Parse an ISO 8601 duration such as PT1.5S; 0: none."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if match is None:
        return 0
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return int(((days * 24 + hours) * 60 + minutes) * 60_000_000 + Decimal(match[4] or 0) * 1_000_000)


def _energy(document: Document) -> tuple[int, int]:
    """Return a counter in µJ and its step, the finer one of those told; -1 and 0: none."""
    for key, unit_uj in (("EnergyJoules", _UJ_PER_J), ("EnergykWh", _UJ_PER_KWH)):
        energy = number(at(document, key, "Reading"))
        if energy is not None and energy >= 0:
            return int(energy * unit_uj), max(1, int(_step(energy) * unit_uj))
    return -1, 0


def _step(value: Decimal) -> Decimal:
    """Return the unit of the last digit that is written."""
    exponent = value.as_tuple().exponent
    return Decimal(1).scaleb(min(0, exponent if isinstance(exponent, int) else 0))


def _step_mw(watts: Decimal) -> int:
    return max(1, int(_step(watts) * 1000))


def _mw(watts: Decimal) -> int:
    return int(watts * 1000)


def _consumed(control: Document) -> tuple[Decimal, int] | None:
    """Return a PowerControl's power and its window: the momentary one, else the mean of its last minutes."""
    watts = number(control.get("PowerConsumedWatts"))
    if watts is not None:
        return watts, 0
    watts = number(at(control, "PowerMetrics", "AverageConsumedWatts"))
    minutes = number(at(control, "PowerMetrics", "IntervalInMin"))
    if watts is None or minutes is None or not 0 < minutes <= _MOST_MINUTES:
        return None
    return watts, int(minutes * 60_000_000)


def _is_part(control: Document) -> bool:
    if str(control.get("PhysicalContext") or "").lower() in _PARTS:
        return True
    items = links(control.get("RelatedItem"))
    return bool(items) and all(_PART_ITEM.search(item) for item in items)


def _swapped(uuid: str) -> str:
    first, second, third, *rest = uuid.split("-")
    turned = (bytes.fromhex(part)[::-1].hex() for part in (first, second, third))
    return "-".join((*turned, *rest))
