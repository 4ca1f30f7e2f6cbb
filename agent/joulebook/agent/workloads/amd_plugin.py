"""Which GPUs AMD's device plugin allotted: it names them as sysfs does.

https://github.com/ROCm/k8s-device-plugin, internal/pkg/amdgpu: a GPU by its PCI address, a partition beyond
the first by its platform device (amdgpu_xcp_3). Either has the render node that programs open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from joulebook.agent.drm import DRM_MAJOR, RENDER, minors
from joulebook.agent.workloads.visible import WHOLE_PPM, HeldGpu, in_order

_PARENTS = (
    (re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"), Path("bus/pci/devices")),
    (re.compile(r"amdgpu_xcp_[0-9]{1,6}"), Path("devices/platform")),
)


def allotted_by_amd(
    devices: Iterable[str], gpus: Sequence[HeldGpu], sysfs: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the domains of devices, and the part of those held in parts. A shared GPU's have ::N behind."""
    domains: list[str] = []
    shares: dict[str, int] = {}
    for device in dict.fromkeys(name.partition("::")[0] for name in devices):
        number = (DRM_MAJOR, _render_minor(device, sysfs))
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
            return next(iter(minors(sysfs / parent / device, RENDER)), -1)
    return -1
