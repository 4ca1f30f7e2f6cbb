"""AMD's GPUs by the kernel's files, while they come, go and come back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.meters.amdgpu import AmdGpuMeter
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Probe
from tests.fixtures.amd.node import AmdNode, J
from tests.fixtures.amdsmi.machine import until

S = 1_000_000
PATIENCE_S = 120


@pytest.fixture
def node(tmp_path: Path) -> AmdNode:
    """Return a node with two GPUs of the newest kind."""
    return AmdNode(tmp_path)


@pytest.fixture
def meter(node: AmdNode) -> Iterator[AmdGpuMeter]:
    """Return its meter."""
    made = AmdGpuMeter(node.roots, wait_s=PATIENCE_S)
    yield made
    made.close()


def change(meter: AmdGpuMeter, now_us: int) -> Probe:
    """Read at this moment until something else is told of than before."""
    found: list[Probe] = []

    def has_changed() -> bool:
        meter.read(now_us)
        if (probe := meter.changed()) is not None:
            found.append(probe)
        return bool(found)

    until(has_changed)
    return found[0]


def energy(meter: AmdGpuMeter, now_us: int) -> list[int]:
    """Return energy_uj and unread_us of each GPU."""
    return list(meter.read(now_us))[: 2 * len(meter.gpus)]


def test_a_driver_that_is_loaded_later_is_found(tmp_path: Path) -> None:
    """Without a GPU there is nothing; once the driver shows some they join."""
    node = AmdNode(tmp_path, gpus=0)
    meter = AmdGpuMeter(node.roots, wait_s=PATIENCE_S)
    assert [f.state for f in meter.probe().findings] == [ABSENT]
    assert list(meter.read(0)) == []
    other = AmdNode(tmp_path / "other", gpus=1)
    shutil.rmtree(node.sysfs)
    shutil.copytree(other.sysfs, node.sysfs, symlinks=True)
    (node.sysfs / "class/hwmon/hwmon0").unlink()
    (node.sysfs / "class/hwmon/hwmon0").symlink_to(node.sensors(0))
    probe = change(meter, 30 * S)
    assert [(f.name, f.state) for f in probe.findings] == [("amdgpu", WORKING)]
    assert energy(meter, 31 * S) == [1000 * S, 0]
    meter.close()


def test_a_gpu_that_vanishes_and_comes_back_keeps_its_name_and_its_energy(
    node: AmdNode, meter: AmdGpuMeter
) -> None:
    """The other is called as before, though it is the first on the bus now; both counters go on."""
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0, 1000 * S, 0]
    chip = node.sysfs / "class/hwmon/hwmon0"
    chip.unlink()
    node.show(1, energy_accumulator=7000 * J)
    probe = change(meter, 30 * S)
    assert [(d.name, d.uuid) for d in probe.devices] == [("gpu.1", "GPU-abc1")]
    assert energy(meter, 30 * S) == [7000 * S, 0]
    chip.symlink_to(node.sensors(0))
    for index in range(2):
        node.show(index, energy_accumulator=13_000 * J)
    probe = change(meter, 60 * S)
    assert [(d.name, d.uuid) for d in probe.devices] == [("gpu.0", "GPU-abc0"), ("gpu.1", "GPU-abc1")]
    assert energy(meter, 60 * S) == [13_000 * S, 0, 13_000 * S, 0]


def test_a_gpu_that_is_plugged_in_joins_and_the_first_goes_on(tmp_path: Path) -> None:
    """It is found by the kernel's list; the one before it keeps its counter."""
    node = AmdNode(tmp_path)
    chip = node.sysfs / "class/hwmon/hwmon0"
    chip.unlink()
    meter = AmdGpuMeter(node.roots, wait_s=PATIENCE_S)
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0]
    # It comes before the other on the bus, and takes no name from it.
    chip.symlink_to(node.sensors(0))
    node.show(1, energy_accumulator=1100 * J)
    probe = change(meter, 30 * S)
    assert [(d.name, d.uuid) for d in probe.devices] == [("gpu.0", "GPU-abc1"), ("gpu.1", "GPU-abc0")]
    assert energy(meter, 30 * S) == [1100 * S, 0, 1000 * S, 0]
    meter.close()


def test_files_that_are_gone_are_opened_anew(node: AmdNode, meter: AmdGpuMeter) -> None:
    """After the driver was loaded again the old files tell nothing; the new ones are found by themselves."""
    meter.probe()
    assert energy(meter, 0) == [1000 * S, 0, 1000 * S, 0]
    sensors = node.sensors(0)
    # A descriptor that is still open reads what it read last: emptied, it is as one whose device is gone.
    for file in (sensors / "power1_average", node.device(0) / "gpu_metrics"):
        content = file.read_bytes()
        file.write_bytes(b"")
        file.unlink()
        file.write_bytes(content)
    assert energy(meter, S) == [1000 * S, 0, 1000 * S, 0]
    assert [(f.name, f.state) for f in meter.findings()] == [("amdgpu:gpu.0", UNREADABLE)]
    node.show(0, energy_accumulator=1100 * J)

    def is_back() -> bool:
        meter.read(30 * S)
        assert meter.changed() is None
        return energy(meter, 30 * S)[0] == 1100 * S

    until(is_back)
    assert [(f.name, f.state) for f in meter.findings()] == [("amdgpu:gpu.0", WORKING)]
