"""Where the figures are in the table that AMD's driver keeps of a GPU, by its revision.

drivers/gpu/drm/amd/include/kgd_pp_interface.h, struct gpu_metrics_v1_0 to v1_8, v2_1 to v2_4, v3_0. Each
revision has a layout of its own, in the machine's byte order; what a GPU does not have is all ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("=HBB")


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
HUNDREDTHS = {(2, 4), (3, 0)}
MILLIWATTS = {(2, 4)}


class TableError(ValueError):
    """A table that cannot be read: too short, or of a revision that is not known."""


def layout_of(table: bytes) -> tuple[tuple[int, int], dict[str, Place]]:
    """Return a table's revision and where its figures are. TableError: it is cut short, or not known."""
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


def values_at(table: bytes, place: Place) -> list[int]:
    """Return the figures at a place, those left out that are all ones."""
    found = struct.unpack_from(f"={place.count}{place.code}", table, place.at)
    none = (1 << 8 * struct.calcsize(f"={place.code}")) - 1
    return [value for value in found if value != none]
