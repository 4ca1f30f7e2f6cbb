"""What AMD's device plugin allotted is found by the names that sysfs has."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulebook.agent.workloads.amd_plugin import allotted_by_amd
from joulebook.agent.workloads.gpuholders import GpuHolders, Holder
from joulebook.agent.workloads.workload import JOB, Workload
from tests.agent.workloads.test_gpuholders import NamedGpu

# The first is whole; the second is divided by four, the first part of which bears its address.
_NODES = {
    "bus/pci/devices/0000:c1:00.0": 128,
    "bus/pci/devices/0000:c6:00.0": 129,
    "devices/platform/amdgpu_xcp_0": 130,
    "devices/platform/amdgpu_xcp_1": 131,
    "devices/platform/amdgpu_xcp_2": 132,
    # Of nobody that is known.
    "devices/platform/amdgpu_xcp_30": 160,
}
_GPUS = [
    NamedGpu(0, 0, "MI300X", rocr_devices=1, device_numbers=frozenset({(226, 128)})),
    NamedGpu(1, 1, "MI300X", rocr_devices=4, device_numbers=frozenset((226, 129 + n) for n in range(4))),
]


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for device, minor in _NODES.items():
        for name in ("card1", f"renderD{minor}"):
            (tmp_path / device / "drm" / name).mkdir(parents=True)
    (tmp_path / "bus/pci/devices/0000:d1:00.0").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("devices", "domains", "shares"),
    [
        (["0000:c1:00.0"], ("gpu.0",), {}),
        (["0000:c6:00.0"], ("gpu.1",), {"gpu.1": 250_000}),
        (["amdgpu_xcp_1", "0000:c1:00.0", "amdgpu_xcp_2"], ("gpu.1", "gpu.0"), {"gpu.1": 500_000}),
        (
            ["0000:c6:00.0", *(f"amdgpu_xcp_{n}" for n in range(3)), "0000:c6:00.0::2"],
            ("gpu.1",),
            {"gpu.1": 1_000_000},
        ),
        (["amdgpu_xcp_30", "amdgpu_xcp_31", "0000:d1:00.0", "0000:ff:00.0"], (), {}),
        (["", "..", "../../..", "0000:c1:00.0/../x", "GPU-0", "amdgpu_xcp_\n", "0000:C1:00.0"], (), {}),
    ],
)
def test_devices_by_the_names_of_sysfs(
    sysfs: Path, devices: list[str], domains: tuple[str, ...], shares: dict[str, int]
) -> None:
    """A PCI address is a GPU or its first part, a platform device another part; others are nobody's."""
    assert allotted_by_amd(devices, _GPUS, sysfs) == (domains, shares)


def test_a_pod_holds_the_part_that_it_was_given(sysfs: Path) -> None:
    """A pod without a process on the GPU holds its part, and a pod that was given none holds none."""
    given = {"a/x": ("amdgpu_xcp_1",), "a/y": ()}
    holders = GpuHolders(sysfs / "proc", _GPUS, given.get, sysfs)
    pods = [Workload(name, JOB, "kubernetes", name=name) for name in given]
    holders.look([Holder(pod) for pod in pods])
    assert holders.held(pods) == {"a/x": ("gpu.1",)}
    assert holders.shares("a/x", ["gpu.1"]) == (250_000,)
