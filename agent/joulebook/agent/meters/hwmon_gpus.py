"""Intel's cards, whose sensors hwmon shows: what workloads may hold of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from joulebook.agent.drm import CARD, DRM_MAJOR, RENDER, minors


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
    return IntelGpu(domain, frozenset((DRM_MAJOR, minor) for minor in minors(device, CARD, RENDER)))
