"""Energy domains as a containment tree, so that nothing is counted twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulebook.v1 import report_pb2
from joulebook.v1.containment import DETAILS, INSIDE_PSYS

Ints = npt.NDArray[np.int64]

CLASSES = ("cpu", "memory", "gpu", "storage", "network", "platform")
CPU, MEMORY, GPU, STORAGE, NETWORK, PLATFORM = range(6)

_CLASS_OF = {"cpu": CPU, "memory": MEMORY, "gpu": GPU, "disk": STORAGE, "nic": NETWORK}
# Of storage it is told what each tier of disks had; what is of no known tier is in the class alone.
TIERS = ("nvme", "ssd", "hdd")
NO_TIER = -1
_TIER_OF = {
    report_pb2.DISK_TIER_NVME: 0,
    report_pb2.DISK_TIER_SSD: 1,
    report_pb2.DISK_TIER_HDD: 2,
}

_CONTAINERS = ("node", "psys", "module")


class UnknownDomainError(ValueError):
    """A domain's name is not one of the containment tree's."""


def kind_of(name: str) -> str:
    """Return the part of a domain's name before its number: cpu of cpu.0."""
    kind = name.partition(".")[0]
    if kind in _CLASS_OF or kind in _CONTAINERS or kind in DETAILS:
        return kind
    known = ", ".join((*_CONTAINERS, *_CLASS_OF, *DETAILS))
    raise UnknownDomainError(f"domain {name!r}: expected one of {known}, with a number or name after a dot")


def class_of(name: str) -> int:
    """Return the class that a domain's energy is booked under; -1 for a detail that is not booked.

    What a container measures beyond its parts is platform: fans, power conversion.
    """
    kind = kind_of(name)
    if kind in DETAILS:
        return -1
    return _CLASS_OF.get(kind, PLATFORM)


def tiers_of(layout: report_pb2.Layout) -> list[int]:
    """Return the place in TIERS of each domain of a Layout; NO_TIER where it is no disk of a known tier."""
    tier = {f"disk.{device.name}": _TIER_OF.get(device.tier, NO_TIER) for device in layout.devices}
    return [tier.get(domain.name, NO_TIER) for domain in layout.domains]


def settle(energy_uj: Ints, parent: Ints, depth: Ints, booked: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Split a containment tree into energies that add up to its roots.

    energy_uj is (domains, ticks); parent, depth and booked have one entry a domain. Where the parts of a
    container exceed it (lag, rounding), the container is taken to be their sum. Returns what is each
    domain's own (domains, ticks), and by how much each container was raised (domains, ticks).
    """
    effective = np.where(booked[:, None], energy_uj, 0)
    if not depth.any():
        return effective, np.zeros_like(effective)
    inside = np.zeros_like(effective)
    raised = np.zeros_like(effective)
    for level in range(int(depth.max()), -1, -1):
        rows = np.flatnonzero((depth == level) & booked)
        excess = np.maximum(inside[rows] - effective[rows], 0)
        raised[rows] = excess
        effective[rows] += excess
        if level:
            np.add.at(inside, parent[rows], effective[rows])
    return effective - inside, raised


def root_energy_uj(energy_uj: Ints, names: Sequence[str]) -> Ints:
    """Return what the node drew in each tick: the check's side of the books, read off the raw readings.

    energy_uj is (domains, ticks). Written apart from settle() so that one can catch the other.
    """
    drawn: dict[str, Ints] = {n: energy_uj[i] for i, n in enumerate(names) if class_of(n) >= 0}

    def at_least_its_parts(container: str, parts: list[str]) -> None:
        found = [drawn.pop(part) for part in parts if part in drawn]
        if found:
            drawn[container] = np.maximum(drawn[container], np.sum(found, axis=0))

    for name in [n for n in drawn if kind_of(n) == "module"]:
        number = name.partition(".")[2]
        at_least_its_parts(name, [f"cpu.{number}", f"gpu.{number}"])
    if "psys" in drawn:
        at_least_its_parts("psys", [n for n in drawn if kind_of(n) in INSIDE_PSYS])
    if "node" in drawn:
        at_least_its_parts("node", [n for n in drawn if n != "node"])
    return np.sum(list(drawn.values()), axis=0) if drawn else np.zeros(energy_uj.shape[1], dtype=np.int64)
