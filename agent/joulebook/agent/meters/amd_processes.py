"""Which processes are on which AMD GPU: /sys/class/kfd/kfd/proc, of the compute driver.

The files are made in drivers/gpu/drm/amd/amdkfd/kfd_process.c and kfd_topology.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from joulebook.agent.drm import DRM_MAJOR
from joulebook.agent.sysfs import text

WHOLE_PPM = 1_000_000


def parse_properties(data: bytes) -> dict[str, int]:
    """Parse a topology node's properties: a name and a number a line."""
    found = {}
    for line in data.splitlines():
        name, _, number = line.decode(errors="replace").partition(" ")
        if number.isdigit():
            found[name] = int(number)
    return found


class KnownGpu(Protocol):
    """A GPU by its PCI address, the last part of device.

    look_for is put there for who is on it, as how many devices the compute driver shows it, and by which
    device files: major and minor numbers.
    """

    index: int
    device: Path
    rocr_devices: int
    device_numbers: frozenset[tuple[int, int]]
    look_for: Callable[[int], dict[int, int]]


class Processes:
    """Finds the compute driver's number of each GPU, and who has memory there."""

    def __init__(self, sysfs: Path) -> None:
        self._kfd = sysfs / "class/kfd/kfd"
        # By the GPU's index: its number with the compute driver, and how many compute units it has.
        self._numbers: dict[int, list[tuple[int, int]]] = {}

    def know(self, gpus: Iterable[KnownGpu]) -> None:
        """Match the compute driver's nodes to GPUs by PCI address; partitions of one GPU share it."""
        by_address = {address: gpu for gpu in gpus if (address := _address(gpu.device.name)) is not None}
        self._numbers = {}
        files: dict[int, set[tuple[int, int]]] = {}
        try:
            nodes = sorted((self._kfd / "topology/nodes").iterdir())
        except OSError:
            return
        for directory in nodes:
            number = text(directory / "gpu_id")
            properties = parse_properties(text(directory / "properties"))
            address = (properties.get("domain", 0), properties.get("location_id", 0) & 0xFFF8)
            gpu = by_address.get(address)
            if gpu is None or not number.isdigit() or number == b"0":
                continue
            units = properties.get("simd_count", 0) // max(1, properties.get("simd_per_cu", 1))
            self._numbers.setdefault(gpu.index, []).append((int(number), units))
            if minor := properties.get("drm_render_minor", 0):
                files.setdefault(gpu.index, set()).add((DRM_MAJOR, minor))
        for gpu in by_address.values():
            if gpu.index in self._numbers:
                gpu.look_for = self.of
                gpu.rocr_devices = len(self._numbers[gpu.index])
                gpu.device_numbers = frozenset(files.get(gpu.index, ()))

    def of(self, index: int) -> dict[int, int]:
        """Return the processes with memory on a GPU, and the share of its compute units that each occupies.

        OSError: the compute driver is gone.
        """
        found = {}
        numbers = self._numbers.get(index, ())
        units = sum(each for _, each in numbers)
        for directory in (self._kfd / "proc").iterdir():
            pid = directory.name
            held = occupied = 0
            for number, _ in numbers:
                held += _number(text(directory / f"vram_{number}"))
                occupied += _number(text(directory / f"stats_{number}/cu_occupancy"))
            if held and pid.isdigit():
                found[int(pid)] = min(occupied * WHOLE_PPM // units, WHOLE_PPM) if units else 0
        return found


def _address(name: str) -> tuple[int, int] | None:
    """Return domain and location of a PCI address (0000:c1:00.0), the function left out."""
    match = re.fullmatch(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.[0-7]", name)
    if match is None:
        return None
    domain, bus, device = (int(part, 16) for part in match.groups())
    return domain, bus << 8 | device << 3


def _number(data: bytes) -> int:
    return int(data) if data.isdigit() else 0
