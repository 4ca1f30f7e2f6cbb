"""Intel's cards, whose sensors hwmon shows: what workloads may hold of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_NODE = re.compile(r"(?:card|renderD)([0-9]{1,6})")
_DRM_MAJOR = 226


@dataclass(slots=True)
class IntelGpu:
    """A card. Nobody but its device plugin and device files names it; who is on it is not asked."""

    domain: str
    device_numbers: frozenset[tuple[int, int]]
    index: int = -1
    uuid: str = ""
    minor: int = -1
    model: str = ""
    parts: dict[str, int] = field(default_factory=dict)
    rocr_devices: int = 0

    def processes(self, now_us: int) -> dict[int, int]:  # noqa: ARG002  (as a driver's)
        """Return none."""
        return {}


def intel_gpu(domain: str, device: Path) -> IntelGpu:
    """Return the card that is a PCI device, with the numbers of its device files."""
    try:
        nodes = os.listdir(device / "drm")  # noqa: PTH208  (names are all)
    except OSError:
        nodes = []
    # The numbers in their names are their minor ones: drivers/gpu/drm/drm_drv.c, drm_minor_alloc().
    minors = (int(found[1]) for node in nodes if (found := _NODE.fullmatch(node)))
    return IntelGpu(domain, frozenset((_DRM_MAJOR, minor) for minor in minors))
