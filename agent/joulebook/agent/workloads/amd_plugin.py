"""Which GPUs AMD's device plugin allotted: it names them as sysfs does.

https://github.com/ROCm/k8s-device-plugin, internal/pkg/amdgpu: a GPU by its PCI address, a partition beyond
the first by its platform device (amdgpu_xcp_3). Either has the render node that programs open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from joulebook.agent.workloads.visible import WHOLE_PPM, HeldGpu, in_order

_PARENTS = (
    (re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"), Path("bus/pci/devices")),
    (re.compile(r"amdgpu_xcp_[0-9]{1,6}"), Path("devices/platform")),
)
_RENDER = re.compile(r"renderD([0-9]{1,6})")
_DRM_MAJOR = 226


def allotted_by_amd(
    devices: Iterable[str], gpus: Sequence[HeldGpu], sysfs: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the domains of devices, and the part of those held in parts. A shared GPU's have ::N behind."""
    domains: list[str] = []
    shares: dict[str, int] = {}
    for device in dict.fromkeys(name.partition("::")[0] for name in devices):
        number = (_DRM_MAJOR, _render_minor(device, sysfs))
        for gpu in gpus:
            if number in gpu.device_numbers and gpu.rocr_devices:
                domains.append(gpu.domain)
                if gpu.rocr_devices > 1:
                    part = WHOLE_PPM // gpu.rocr_devices
                    shares[gpu.domain] = min(shares.get(gpu.domain, 0) + part, WHOLE_PPM)
    return in_order(domains), shares


def _render_minor(device: str, sysfs: Path) -> int:
    """Return the minor number of a device's render node, -1 where it has none."""
    for name, parent in _PARENTS:
        if name.fullmatch(device):
            try:
                nodes = os.listdir(sysfs / parent / device / "drm")  # noqa: PTH208  (names are all)
            except OSError:
                return -1
            return next((int(found[1]) for node in nodes if (found := _RENDER.fullmatch(node))), -1)
    return -1
