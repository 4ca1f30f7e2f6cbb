"""Which AMD GPUs the kernel lists, what the meter amdgpu calls them, and which are part of a processor."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from joulebook.agent.meters.hwmon_sensors import choose
from joulebook.agent.source import Roots
from joulebook.agent.sysfs import text

_RENDERER = re.compile(r"renderD[0-9]+")


@dataclass(frozen=True, slots=True)
class Cards:
    """Domains by PCI address without function, of GPUs with a power limit of their own; and the others'."""

    domains: dict[str, str] = field(default_factory=dict)
    within: frozenset[str] = frozenset()

    def name(self, card: str, taken: frozenset[str]) -> str:
        """Return a GPU's domain: as amdgpu calls it, else the next number that is free."""
        told = self.domains.get(card, "")
        if told and told not in taken:
            return told
        known = taken | frozenset(self.domains.values())
        return next(name for number in range(len(known) + 1) if (name := f"gpu.{number}") not in known)


def find_cards(roots: Roots) -> Cards:
    """Look at the sensors of GPUs: Documentation/gpu/amdgpu/thermal.rst."""
    directory = roots.sysfs / "class/hwmon"
    chosen = choose(directory, frozenset())[0]
    domains = {_card(one.device): domain for domain, (one, *_) in chosen.items() if one.chip == "amdgpu"}
    try:
        sensors = [each for each in directory.iterdir() if text(each / "name") == b"amdgpu"]
    except OSError:
        sensors = []
    every = {_card((each / "device").resolve()) for each in sensors}
    return Cards(domains, frozenset(every - domains.keys()))


def listed(roots: Roots) -> frozenset[str]:
    """Return what the kernel lists of GPUs: those of the driver, and one renderer for each partition too."""
    found = []
    for directory in (roots.sysfs / "bus/pci/drivers/amdgpu", roots.sysfs / "class/drm"):
        try:
            found += [each.name for each in directory.iterdir()]
        except OSError:
            continue
    return frozenset(name for name in found if ":" in name or _RENDERER.fullmatch(name))


def _card(device: Path) -> str:
    return device.name.lower().rpartition(".")[0]
