"""Find the sensors of /sys/class/hwmon and name what they measure.

Documentation/hwmon/sysfs-interface.rst, Documentation/hwmon/acpi_power_meter.rst.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from joulebook.agent.source import WORKING, Finding
from joulebook.agent.sysfs import text
from joulebook.v1 import report_pb2

_SENSOR = re.compile(r"(energy|power)([0-9]+)_(input|average)")
# Grace names its ACPI meters so: a module holds the Grace socket and the GPU, the socket its core rail, its
# SoC rail and its memory (NVIDIA Grace Performance Tuning Guide, "Power and Thermals").
_GRACE = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket ([0-9]+)")
_GRACE_PARTS = {"Module": "module", "Grace": "cpu", "CPU": "core", "SysIO": "uncore"}
# OPAL's firmware names POWER9's sensors so: a chip is a package, called as sysfs numbers packages; its rails
# are parts of it, and the board's channels (APSS) parts of the system, or the system once more (skiboot,
# hw/occ-sensor.c).
_POWER_CHIP = re.compile(r"Chip ([0-9]+)")
# X-Gene's and Altra's socket is these two together (Documentation/hwmon/xgene-hwmon.rst).
_XGENE, _XGENE_PARTS = "apm_xgene", ("CPU power", "IO power")
# What the kernel calls power zones of SCMI.
ARM_SCMI = "arm-scmi"
# Chips whose other sensors are known to be parts of what is booked.
_KNOWN_PARTS = ("amd_energy", "xe", "ibmpowernv")
INTEL_CHIPS = ("i915", "xe")
_GPU_CHIPS = ("amdgpu", *INTEL_CHIPS)
# i915 shows each tile of a card as a chip of its own, beside the card's.
_TILE = re.compile(r"i915_gt[0-9]+")
# Where a card has several sensors, the one of the whole card.
_GPU_LABELS = ("card", "", "PPT", "pkg")
# Of Arc A cards both drivers show the package alone: xe says so, i915 shows what has no tiles in that way
# (hwm_get_preregistration_info in drivers/gpu/drm/i915/i915_hwmon.c). What memory and converters take differs
# by card; a fifth is assumed.
PACKAGE_ALONE_PPM = 200_000
# Best first: a counter misses nothing, an average less than a momentary value.
_KINDS = {
    ("energy", "input"): report_pb2.SOURCE_KIND_COUNTER,
    ("power", "average"): report_pb2.SOURCE_KIND_AVERAGE_POWER,
    ("power", "input"): report_pb2.SOURCE_KIND_INSTANT_POWER,
}
_RANKS = list(_KINDS.values())
# Board sensors that state nothing: shunt, amplifier and ADC together are seldom better.
_ACCURACY_PPM = 50_000


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor file as found; device is its identity, chip names may repeat."""

    device: Path
    path: Path
    chip: str
    label: str
    kind: report_pb2.SourceKind.ValueType
    # Whether it is a card's package alone.
    is_package: bool = False


def domain_name(sensor: Sensor, gpu: int, has_cap: bool, package: int = 0) -> str:
    """Name the domain that a sensor measures; empty: unknown, or a part that others already hold.

    gpu and package number the card or socket, where the sensor is one's and does not tell itself.
    """
    label = sensor.label
    name = ""
    if match := _GRACE.fullmatch(label):
        name = f"{_GRACE_PARTS[match[1]]}.{match[2]}"
    elif sensor.chip == "ibmpowernv":
        match = _POWER_CHIP.fullmatch(label)
        name = "node" if label == "System" else f"cpu.{match[1]}" if match else ""
    elif sensor.chip == _XGENE:
        name = f"cpu.{package}" if label in _XGENE_PARTS else ""
    elif sensor.chip == "amd_energy":
        match = re.fullmatch(r"Esocket([0-9]+)", label)
        name = f"cpu.{match[1]}" if match else ""
    elif sensor.chip == "power_meter":
        name = "node" if " Socket " not in label else ""
    # A GPU within a processor has no cap of its own: what amdgpu shows there is the whole package.
    elif sensor.chip in _GPU_CHIPS and label in _GPU_LABELS and (sensor.chip != "amdgpu" or has_cap):
        name = f"gpu.{gpu}"
    return name


def memory_held(sensor: Sensor) -> str:
    """Name the memory whose energy is within a sensor's; empty: none."""
    match = _GRACE.fullmatch(sensor.label)
    return f"memory.{match[2]}" if match and match[1] in ("Module", "Grace") else ""


def parse_accuracy_ppm(data: bytes) -> int:
    """Parse powerN_accuracy ("95.0%"): how right the meter is, or, below 50 %, how wrong it may be."""
    try:
        percent = float(data.strip().rstrip(b"%"))
    except ValueError:
        return _ACCURACY_PPM
    if not 0 <= percent <= 100:
        return _ACCURACY_PPM
    wrong_ppm = round((100 - percent if percent >= 50 else percent) * 10_000)
    return wrong_ppm if 0 < wrong_ppm <= 500_000 else _ACCURACY_PPM


def _sensors(chip_directory: Path) -> list[Sensor]:
    """List a chip's sensors; older drivers keep the files at the device, not at the hwmon entry."""
    device = chip_directory / "device"
    for directory in (chip_directory, device):
        try:
            matches = [match for path in directory.iterdir() if (match := _SENSOR.fullmatch(path.name))]
        except OSError:
            continue
        if matches:
            break
    else:
        return []
    chip = (text(chip_directory / "name") or text(device / "name")).decode(errors="replace")
    identity = (device if device.exists() else chip_directory).resolve()
    sensors = []
    for match in sorted(matches, key=lambda match: match[0]):
        kind = _KINDS.get((match[1], match[3]))
        stem = match[1] + match[2]
        if kind is None or text(directory / f"{stem}_is_battery") == b"1":
            continue
        label = text(directory / f"{stem}_label") or text(directory / f"{stem}_oem_info")
        sensors.append(Sensor(identity, directory / match[0], chip, label.decode(errors="replace"), kind))
    return sensors


def choose(
    directory: Path,
    covered: frozenset[str],
    packages: Callable[[], Sequence[int]] = tuple,
    named: Mapping[str, str] = MappingProxyType({}),
    zones: Sequence[Sensor] = (),
) -> tuple[dict[str, tuple[Sensor, ...]], list[Finding]]:
    """Choose the best sensor of each domain, or those that are it together; say which are not booked.

    packages gives the numbers of the node's packages, in order, where sensors do not tell theirs; named are
    the domains of sensors that firmware names, by "CHIP/LABEL"; zones are sensors beside hwmon's.
    """
    try:
        chips = sorted(directory.iterdir(), key=lambda path: path.resolve())
    except OSError:
        chips = []
    candidates: dict[str, list[Sensor]] = {}
    findings: dict[str, Finding] = {}
    gpus: dict[Path, int] = {}
    found = [*(sensor for chip in chips for sensor in _sensors(chip)), *zones]
    sockets = _sockets(found, packages)
    tiled = {sensor.device for sensor in found if _TILE.fullmatch(sensor.chip)}
    for sensor in found:
        number = sensor.path.name.partition("_")[0]
        has_cap = sensor.path.with_name(f"{number}_cap").exists()
        gpu = gpus.get(sensor.device, len(gpus))
        domain = named.get(called(sensor)) or domain_name(sensor, gpu, has_cap, sockets.get(sensor.device, 0))
        if domain.startswith("gpu."):
            gpus[sensor.device] = gpu
        if domain and not _is_covered(domain, covered):
            candidates.setdefault(domain, []).append(sensor)
        elif not domain and sensor.chip not in _KNOWN_PARTS and not _TILE.fullmatch(sensor.chip):
            name = f"hwmon:{sensor.chip}@{sensor.device.name}"
            findings[name] = _unknown(name, sensor, findings.get(name))
    best: dict[str, tuple[Sensor, ...]] = {}
    for domain, sensors in candidates.items():
        sensors.sort(key=_rank)
        if len({sensor.device for sensor in sensors}) > 1:
            name = f"hwmon:{domain}"
            reason = f"not booked: {len(sensors)} sensors claim to measure it and cannot be told apart"
            findings[name] = Finding(name, WORKING, reason)
            continue
        best[domain] = (sensors[0],)
        if sensors[0].label == "pkg" or (sensors[0].chip == "i915" and sensors[0].device not in tiled):
            best[domain] = (replace(sensors[0], is_package=True),)
            name = f"hwmon:{domain}"
            findings[name] = Finding(
                name, WORKING, "counts the package alone: the card's memory is not in it"
            )
    _join_sockets(candidates, best, findings)
    return best, list(findings.values())


def _join_sockets(
    candidates: Mapping[str, Sequence[Sensor]],
    best: dict[str, tuple[Sensor, ...]],
    findings: dict[str, Finding],
) -> None:
    """Have both sensors of a socket of X-Gene or Altra, or neither."""
    for domain, (first, *_) in list(best.items()):
        if first.chip != _XGENE:
            continue
        if {sensor.label for sensor in candidates[domain]} == set(_XGENE_PARTS):
            best[domain] = tuple(candidates[domain])
            continue
        del best[domain]
        name = f"hwmon:{domain}"
        reason = f"not booked: {first.label} is a part of the socket, and the other part is not there"
        findings[name] = Finding(name, WORKING, reason)


def called(sensor: Sensor) -> str:
    """Return what the configuration calls a sensor: CHIP/LABEL, or its number where it has no label."""
    return f"{sensor.chip}/{sensor.label or sensor.path.name.partition('_')[0]}"


def _unknown(name: str, sensor: Sensor, before: Finding | None) -> Finding:
    fix = f"where its maker says which, name it: agent.hwmon.domains, as {called(sensor)}=DOMAIN"
    reason = "not booked: which domain it measures is not known"
    return before or Finding(name, WORKING, reason, fix)


def read_zones(directory: Path) -> list[Sensor]:
    """List the power zones of SCMI firmware that can be read: Documentation/power/powercap/powercap.rst.

    drivers/powercap/arm_scmi_powercap.c shows each zone's power, averaged by firmware, and firmware's name.
    """
    zones = sorted(directory.glob(f"{ARM_SCMI}:*"))
    return [
        Sensor(
            zone.resolve(),
            zone / "power_uw",
            ARM_SCMI,
            text(zone / "name").decode(errors="replace"),
            report_pb2.SOURCE_KIND_AVERAGE_POWER,
        )
        for zone in zones
        if (zone / "power_uw").exists()
    ]


def _sockets(found: Sequence[Sensor], packages: Callable[[], Sequence[int]]) -> dict[Path, int]:
    """Number the sockets whose sensors do not tell which: in the order of their devices, as the packages."""
    devices = list(dict.fromkeys(sensor.device for sensor in found if sensor.chip == _XGENE))
    numbers = list(packages()) if devices else []
    return {device: (numbers[i] if i < len(numbers) else i) for i, device in enumerate(devices)}


def _is_covered(domain: str, covered: frozenset[str]) -> bool:
    # Who numbers the GPUs of another driver is not known, so any measured GPU covers them all.
    if domain.startswith("gpu."):
        return any(name.startswith("gpu.") for name in covered)
    return any(name == domain or name.startswith(domain + ".") for name in covered)


def _rank(sensor: Sensor) -> tuple[int, int, str]:
    label = _GPU_LABELS.index(sensor.label) if sensor.label in _GPU_LABELS else 0
    return label, _RANKS.index(sensor.kind), sensor.path.name
