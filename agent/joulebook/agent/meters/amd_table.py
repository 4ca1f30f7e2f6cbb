"""The table that AMD's driver keeps of a GPU: /sys/class/drm/card*/device/gpu_metrics.

drivers/gpu/drm/amd/include/kgd_pp_interface.h; where each figure is, amd_layouts.py knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.agent.meters.amd_layouts import HUNDREDTHS, MILLIWATTS, layout_of, values_at

_PPM_A_PERCENT = 10_000
_WHOLE_PPM = 1_000_000
# A unit of the accumulator from v1.4 on is 2^-16 J.
_ENERGY_PER_UNIT = (15_625, 1024)
_GENERATION_OF_SPEED = {25: 1, 50: 2, 80: 3, 160: 4, 320: 5, 640: 6}

# indep_throttle_status, SMU_THROTTLER_*_BIT of drivers/gpu/drm/amd/pm/inc/amdgpu_smu.h: power and current
# limits below bit 32, heat below bit 48, the rest above it.
_POWER_BITS, _THERMAL_BITS = (1 << 32) - 1, ((1 << 16) - 1) << 32


@dataclass(frozen=True, slots=True)
class Residency:
    """Ticks of the firmware so far, and in how many of them the GPU was held back, by power or by heat."""

    ticks: int
    power: int
    thermal: int


@dataclass(frozen=True, slots=True)
class AmdTable:
    """What a table holds, in the catalogue's units; None: the GPU does not have it."""

    revision: tuple[int, int]
    power_mw: int | None = None
    # The accumulator, where its unit is known.
    energy_uj: int | None = None
    temperature_mc: int | None = None
    memory_temperature_mc: int | None = None
    utilisation_ppm: int | None = None
    memory_utilisation_ppm: int | None = None
    clock_khz: int | None = None
    memory_clock_khz: int | None = None
    # Held back now, by power or heat or otherwise; and since when it counts.
    throttled: tuple[bool, bool, bool] | None = None
    residency: Residency | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    pcie_replays: int | None = None
    links_received_bytes: int | None = None
    links_sent_bytes: int | None = None
    partitions: int | None = None


def parse(table: bytes) -> AmdTable:
    """Parse the table. TableError: it is cut short, or its revision is not known."""
    revision, places = layout_of(table)
    found = {name: values_at(table, place) for name, place in places.items()}
    degrees = 10 if revision in HUNDREDTHS else 1000
    percent = 100 if revision == (2, 4) else _PPM_A_PERCENT
    watt = 1 if revision in MILLIWATTS else 1000
    power_mw = _one(found, "power_mw")
    return AmdTable(
        revision=revision,
        power_mw=power_mw if power_mw is not None else _scaled(_one(found, "power_w"), watt),
        energy_uj=_energy_uj(_one(found, "energy")),
        temperature_mc=_scaled(_first(_one(found, "hotspot"), _one(found, "edge")), degrees),
        memory_temperature_mc=_scaled(_one(found, "memory_temperature"), degrees),
        utilisation_ppm=_share_ppm(_one(found, "busy"), percent),
        memory_utilisation_ppm=_share_ppm(_one(found, "memory_busy"), percent),
        clock_khz=_scaled(_most(found, "clock"), 1000),
        memory_clock_khz=_scaled(_one(found, "memory_clock"), 1000),
        throttled=_throttled(_one(found, "throttle")),
        residency=_residency(found),
        pcie_generation=_GENERATION_OF_SPEED.get(_one(found, "speed") or 0),
        pcie_width=_one(found, "width"),
        pcie_replays=_one(found, "replays"),
        links_received_bytes=_scaled(_sum(found, "links_read"), 1024),
        links_sent_bytes=_scaled(_sum(found, "links_written"), 1024),
        partitions=_one(found, "partitions"),
    )


def parse_energy_uj(table: bytes) -> int | None:
    """Parse the accumulator alone, where its unit is known. TableError: as parse()."""
    _, places = layout_of(table)
    place = places.get("energy")
    values = values_at(table, place) if place is not None else ()
    return _energy_uj(values[0]) if values else None


Found = dict[str, list[int]]


def _one(found: Found, name: str) -> int | None:
    values = found.get(name)
    return values[0] if values else None


def _most(found: Found, name: str) -> int | None:
    return max(found.get(name) or (), default=None)


def _sum(found: Found, name: str) -> int | None:
    values = found.get(name)
    return sum(values) if values else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value), None)


def _scaled(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def _share_ppm(value: int | None, factor: int) -> int | None:
    return None if value is None else min(value * factor, _WHOLE_PPM)


def _energy_uj(units: int | None) -> int | None:
    return None if units is None else units * _ENERGY_PER_UNIT[0] // _ENERGY_PER_UNIT[1]


def _throttled(bits: int | None) -> tuple[bool, bool, bool] | None:
    if bits is None:
        return None
    return bool(bits & _POWER_BITS), bool(bits & _THERMAL_BITS), bool(bits >> 48)


def _residency(found: Found) -> Residency | None:
    ticks, power = _one(found, "ticks"), _one(found, "ppt")
    heat = [_one(found, name) for name in ("prochot", "socket_heat", "vr_heat", "hbm_heat")]
    if ticks is None or power is None:
        return None
    # Several kinds of heat at once are one time held back: the longest is the least that it can be.
    return Residency(ticks, power, max((each for each in heat if each is not None), default=0))
