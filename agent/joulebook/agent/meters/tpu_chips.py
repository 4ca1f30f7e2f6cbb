"""Which TPU chips a machine has: /sys/bus/pci/devices; identifiers as in tpu-info (PyPI, Apache-2.0)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_GOOGLE = "0x1ae0"


@dataclass(frozen=True, slots=True)
class Kind:
    """A generation, and what a chip draws at rest and at most where that was published."""

    name: str
    hbm_bytes: int
    idle_mw: int = 0
    most_mw: int = 0


_GIB = 1 << 30
# v2: TDP and idle, Jouppi et al., Ten Lessons From Three Generations Shaped Google's TPUv4i, ISCA 2021, table
# 1. v3 and v4: least and most of "Measured min/mean/max power", 123/220/262 W in cloud.google.com/tpu/docs/v3
# and 90/170/192 W in /tpu/docs/v4. Of later ones Google publishes nothing.
_KINDS = {
    ("0x0027", "0x004e"): Kind("v2", 16 * _GIB, 53_000, 280_000),
    ("0x0027", "0x004f"): Kind("v3", 32 * _GIB, 123_000, 262_000),
    ("0x005e", ""): Kind("v4", 32 * _GIB, 90_000, 192_000),
    ("0x0063", ""): Kind("v5e", 16 * _GIB),
    ("0x0062", ""): Kind("v5p", 95 * _GIB),
    ("0x006f", ""): Kind("v6e", 32 * _GIB),
    ("0x0076", ""): Kind("7x", 192 * _GIB),
}


def find_chips(sysfs: Path) -> list[Kind]:
    """Return the chips in the order of their PCI addresses; what is of no known kind is no chip."""
    try:
        devices = sorted((sysfs / "bus/pci/devices").iterdir())
    except OSError:
        return []
    found = []
    for device in devices:
        if _text(device / "vendor") != _GOOGLE:
            continue
        identity, subsystem = _text(device / "device"), _text(device / "subsystem_device")
        kind = _KINDS.get((identity, subsystem)) or _KINDS.get((identity, ""))
        if kind is not None:
            found.append(kind)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
