"""Who uses AMD's GPUs, and the partitions that they are divided into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.v1 import report_pb2
from tests.fixtures.amd.node import AmdNode
from tests.fixtures.amdsmi.machine import Machine
from tests.fixtures.amdsmi.standin import NO_PERMISSION

S = 1_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Return two GPUs and their meter."""
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.meter.close()


def test_users_have_the_part_that_they_occupy(machine: Machine) -> None:
    """A process occupies compute units or takes an engine's time; one that only is there uses nothing."""
    machine.standin.set(0, processes="100:1024:152:0,101:1024:0:0,102:0:0:5,103:1024:4294967295:1000")
    machine.probe()
    (gpu, other) = machine.meter.gpus
    assert gpu.processes(0) == {100: 500_000, 101: 0, 103: 0}
    machine.standin.set(0, processes="100:1024:152:0,102:0:0:250000005,103:1024:4294967295:750001000")
    assert gpu.processes(S) == {100: 500_000, 102: 250_000, 103: 750_000}
    assert other.processes(S) == {}


def test_the_compute_driver_stands_in_for_a_list_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not list the processes through AMD SMI reads the compute driver's files."""
    node = AmdNode(tmp_path)
    machine = Machine(tmp_path, monkeypatch)
    node.run(1, 200, 50)
    for index in range(2):
        machine.standin.set(index, processes=NO_PERMISSION)
    machine.probe()
    assert [gpu.processes(0) for gpu in machine.meter.gpus] == [{}, {200: 500_000}]
    machine.meter.close()


def test_partitions_are_devices_and_their_energy_is_the_gpus(machine: Machine) -> None:
    """A GPU in CPX mode is one domain; each partition has its memory, and its processes are the GPU's."""
    machine.standin.divide(0, 4, first=2)
    machine.standin.set(3, gfx=100, vram_used=3 << 10, processes="300:1024:76:0")
    machine.standin.set(0, processes="300:1024:38:0,301:1024:0:0")
    probe = machine.probe()
    assert [d.name for d in probe.domains] == ["gpu.0", "gpu.1"]
    parts = [d for d in probe.devices if d.kind == report_pb2.DEVICE_KIND_GPU_INSTANCE]
    assert [(d.name, d.part_of, d.model) for d in parts] == [
        (f"gpu.0.xcp.{part}", "gpu.0", "CPX NPS4") for part in range(4)
    ]
    assert machine.of("gpu.0.xcp.2", 0) == {"UTILISATION": S, "MEMORY_USED": 3 << 30}
    assert machine.energy(0) == [1000 * S, 0, 2000 * S, 0]
    # A quarter of the GPU as a whole, and half a quarter.
    assert machine.meter.gpus[0].processes(0) == {300: 375_000, 301: 0}
    assert [gpu.rocr_devices for gpu in machine.meter.gpus] == [4, 1]
    assert ("amdsmi:gpu.0.partitions", "CPX and NPS4: 4 of one GPU") in [
        (f.name, f.reason) for f in probe.findings
    ]
