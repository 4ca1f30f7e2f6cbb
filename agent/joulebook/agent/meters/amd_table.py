"""The table that AMD's driver keeps of a GPU: /sys/class/drm/card*/device/gpu_metrics.

drivers/gpu/drm/amd/include/kgd_pp_interface.h, struct gpu_metrics_v1_0 to v1_8, v2_1 to v2_4, v3_0. Each
revision has a layout of its own, in the machine's byte order; what a GPU does not have is all ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("=HBB")
_PPM_A_PERCENT = 10_000
_WHOLE_PPM = 1_000_000
# A unit of the accumulator from v1.4 on is 2^-16 J.
_ENERGY_PER_UNIT = (15_625, 1024)
_GENERATION_OF_SPEED = {25: 1, 50: 2, 80: 3, 160: 4, 320: 5, 640: 6}

# indep_throttle_status, SMU_THROTTLER_*_BIT of drivers/gpu/drm/amd/pm/inc/amdgpu_smu.h: power and current
# limits below bit 32, heat below bit 48, the rest above it.
_POWER_BITS, _THERMAL_BITS = (1 << 32) - 1, ((1 << 16) - 1) << 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where a figure is in the table: its first byte, its type and how many there are of it."""

    at: int
    code: str
    count: int = 1


_H, _I, _Q = "H", "I", "Q"
_OLD = {
    "hotspot": Place(6, _H),
    "edge": Place(4, _H),
    "memory_temperature": Place(8, _H),
    "busy": Place(16, _H),
    "memory_busy": Place(18, _H),
    "power_w": Place(22, _H),
    "clock": Place(54, _H),
    "memory_clock": Place(58, _H),
    "width": Place(74, _H),
    "speed": Place(76, _H),
}
_NEW = {
    "hotspot": Place(4, _H),
    "memory_temperature": Place(6, _H),
    "power_w": Place(10, _H),
    "busy": Place(12, _H),
    "memory_busy": Place(14, _H),
}
_APU = {
    "edge": Place(4, _H),
    "busy": Place(28, _H),
    "power_w": Place(40, _H),
    "clock": Place(76, _H),
    "memory_clock": Place(80, _H),
}


def _new(**places: tuple[int, str] | tuple[int, str, int]) -> dict[str, Place]:
    return _NEW | {name: Place(*place) for name, place in places.items()}


_V1_7 = _new(
    energy=(24, _Q),
    ticks=(40, _I),
    prochot=(44, _I),
    ppt=(48, _I),
    socket_heat=(52, _I),
    vr_heat=(56, _I),
    hbm_heat=(60, _I),
    width=(68, _H),
    speed=(70, _H),
    replays=(112, _Q),
    links_read=(136, _Q, 8),
    links_written=(200, _Q, 8),
    clock=(296, _H, 8),
    memory_clock=(336, _H),
    partitions=(338, _H),
)
# By format and content revision: the size of the table, and what is where.
_LAYOUTS: dict[tuple[int, int], tuple[int, dict[str, Place]]] = {
    (1, 0): (
        80,
        {
            "edge": Place(16, _H),
            "hotspot": Place(18, _H),
            "memory_temperature": Place(20, _H),
            "busy": Place(28, _H),
            "memory_busy": Place(30, _H),
            "power_w": Place(34, _H),
        },
    ),
    (1, 1): (96, _OLD),
    (1, 2): (104, _OLD),
    (1, 3): (120, _OLD | {"throttle": Place(112, _Q)}),
    (1, 4): (
        288,
        _new(
            energy=(24, _Q),
            width=(48, _H),
            speed=(50, _H),
            replays=(88, _Q),
            links_read=(104, _Q, 8),
            links_written=(168, _Q, 8),
            clock=(240, _H, 8),
            memory_clock=(280, _H),
        ),
    ),
    (1, 5): (
        360,
        _new(
            energy=(88, _Q),
            width=(112, _H),
            speed=(114, _H),
            replays=(152, _Q),
            links_read=(176, _Q, 8),
            links_written=(240, _Q, 8),
            clock=(312, _H, 8),
            memory_clock=(352, _H),
        ),
    ),
    (1, 6): (
        1664,
        _new(
            energy=(16, _Q),
            ticks=(32, _I),
            prochot=(36, _I),
            ppt=(40, _I),
            socket_heat=(44, _I),
            vr_heat=(48, _I),
            hbm_heat=(52, _I),
            width=(60, _H),
            speed=(62, _H),
            replays=(104, _Q),
            links_read=(128, _Q, 8),
            links_written=(192, _Q, 8),
            clock=(264, _H, 8),
            memory_clock=(304, _H),
            partitions=(306, _H),
        ),
    ),
    (1, 7): (2208, _V1_7),
    (1, 8): (3360, _V1_7),
    (2, 1): (120, _APU),
    (2, 2): (128, _APU | {"throttle": Place(120, _Q)}),
    (2, 3): (152, _APU | {"throttle": Place(120, _Q)}),
    (2, 4): (168, _APU | {"throttle": Place(120, _Q)}),
    (3, 0): (
        256,
        {"edge": Place(4, _H), "busy": Place(42, _H), "power_mw": Place(112, _I), "clock": Place(174, _H)},
    ),
}
# These tell temperatures in hundredths of a degree; v2.4 shares in hundredths of a per cent and power in mW.
_HUNDREDTHS = {(2, 4), (3, 0)}
_MILLIWATTS = {(2, 4)}


class TableError(ValueError):
    """A table that cannot be read: too short, or of a revision that is not known."""


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
    revision, places = _layout(table)
    found = {name: _values(table, place) for name, place in places.items()}
    degrees = 10 if revision in _HUNDREDTHS else 1000
    percent = 100 if revision == (2, 4) else _PPM_A_PERCENT
    watt = 1 if revision in _MILLIWATTS else 1000
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
    _, places = _layout(table)
    place = places.get("energy")
    values = _values(table, place) if place is not None else ()
    return _energy_uj(values[0]) if values else None


def _layout(table: bytes) -> tuple[tuple[int, int], dict[str, Place]]:
    if len(table) < _HEADER.size:
        raise TableError(f"{len(table)} bytes: expected a table of at least {_HEADER.size}")
    size, major, minor = _HEADER.unpack_from(table)
    revision = (major, minor)
    if revision not in _LAYOUTS:
        raise TableError(f"revision v{major}.{minor} is not known; those up to v1.8, v2.4 and v3.0 are")
    expected, places = _LAYOUTS[revision]
    if len(table) < expected or size < expected:
        raise TableError(f"{min(len(table), size)} bytes of v{major}.{minor}: expected {expected}")
    return revision, places


def _values(table: bytes, place: Place) -> list[int]:
    """Return the figures at a place, those left out that are all ones."""
    found = struct.unpack_from(f"={place.count}{place.code}", table, place.at)
    none = (1 << 8 * struct.calcsize(f"={place.code}")) - 1
    return [value for value in found if value != none]


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
