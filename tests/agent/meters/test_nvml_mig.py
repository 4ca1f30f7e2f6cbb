"""MIG instances: devices of their own, with what NVML tells of each, and never any energy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.agent.meters.codes import DriverError
from joulebook.agent.source import Device, Probe
from joulebook.v1 import report_pb2
from tests.fixtures.nvml.machine import Machine
from tests.fixtures.nvml.standin import NO_PERMISSION, NOT_SUPPORTED, Standin, uuid_of

JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]
S = 1_000_000
GIB = 1 << 30
# More ticks than the longest turn.
ALL = 31


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a node with a GPU that is divided into 3 and 2 of 7 slices, and one that is whole."""
    machine = Machine(tmp_path, monkeypatch)
    machine.standin.full(0)
    machine.standin.divide(0, 0, gpu_instance=1, slices=3)
    machine.standin.divide(0, 2, gpu_instance=5, slices=2)
    return machine


def _instances(probe: Probe) -> list[Device]:
    return [device for device in probe.devices if device.kind == report_pb2.DEVICE_KIND_GPU_INSTANCE]


def _changed(machine: Machine, now_us: int) -> Probe:
    """Return what there is after so many looks and readings that a change is seen."""
    for _ in range(ALL):
        machine.meter.read(now_us)
        machine.settle()
    probe = machine.meter.changed()
    assert probe is not None
    machine.series = probe.series
    return probe


def test_each_instance_is_a_device_with_its_facts_and_figures(machine: Machine) -> None:
    """It has its UUID, profile, size, memory and ratios; the energy is the GPU's alone."""
    probe = machine.meter.probe()
    assert [domain.name for domain in probe.domains] == ["gpu.0", "gpu.1"]
    assert [device.uuid for device in probe.devices if not device.part_of] == [uuid_of(0), uuid_of(1)]
    assert _instances(probe) == [
        Device(
            f"gpu.0.mig.{gi}.0",
            report_pb2.DEVICE_KIND_GPU_INSTANCE,
            size_bytes=10 * slices * GIB,
            uuid=uuid,
            model=f"{slices}g.{10 * slices}gb",
            part_of="gpu.0",
        )
        for gi, slices, uuid in ((1, 3, "MIG-0010-0000"), (5, 2, "MIG-0250-0000"))
    ]
    machine.standin.put({"0.gi.5.gpm.2": 80, "0.mig.2.memory_used": 7 * GIB})
    assert machine.of("gpu.0.mig.5.0", 0, ALL) == {
        "MEMORY_USED": 7 * GIB,
        "SM_ACTIVE": 800_000,
        "SM_OCCUPANCY": 250_000,
        "TENSOR_ACTIVE": 125_000,
        "DRAM_ACTIVE": 62_500,
    }
    assert machine.of("gpu.0.mig.1.0", 0)["SM_ACTIVE"] == 500_000
    assert machine.of("gpu.0", 0)["SM_ACTIVE"] == 605_000
    assert {s.domain for s in machine.series if s.domain} == {"gpu.0", "gpu.1"}


def test_instances_come_and_go_while_it_runs(machine: Machine) -> None:
    """What is made joins with its figures, what is taken away leaves; GPUs and others go on as they were."""
    machine.standin.set(0, energy=5_000)
    machine.read(0)
    before = machine.energy(S)
    machine.standin.divide(0, 1, gpu_instance=9, slices=1)
    machine.standin.join(0, 0)
    probe = _changed(machine, 2 * S)
    assert [device.name for device in _instances(probe)] == ["gpu.0.mig.9.0", "gpu.0.mig.5.0"]
    assert machine.of("gpu.0.mig.9.0", 2 * S, ALL)["MEMORY_USED"] == GIB
    assert machine.energy(3 * S) == before
    assert probe.findings == ()
    assert machine.meter.changed() is None
    machine.standin.set(0, mig=0)
    assert _instances(_changed(machine, 4 * S)) == []


def test_a_shared_gpu_instance_tells_no_ratios_of_one_of_its_parts(machine: Machine) -> None:
    """GPM knows GPU instances: what two compute instances did together is told of neither."""
    machine.standin.divide(0, 3, gpu_instance=5, slices=2, compute_instance=1)
    machine.standin.put({"0.mig.3.name": NOT_SUPPORTED, "0.mig.0.memory_used": None})
    profiles = {device.name: device.model for device in _instances(machine.meter.probe())}
    assert profiles["gpu.0.mig.5.1"] == "2c.2g"
    machine.meter.close()
    assert set(machine.of("gpu.0.mig.5.0", 0)) == set(machine.of("gpu.0.mig.5.1", 0)) == {"MEMORY_USED"}
    assert "MEMORY_USED" not in machine.of("gpu.0.mig.1.0", 0)
    assert machine.of("gpu.0.mig.1.0", 0)["SM_ACTIVE"] == 500_000


def test_processes_use_what_their_instance_does(machine: Machine) -> None:
    """A process's share of the GPU is its instance's activity times its slices, halved between two there."""
    machine.read(0)
    machine.of("gpu.0", 0, ALL)
    gpu = machine.meter.gpus[0]
    machine.standin.set(0, compute="11:1:1:0,12:1:5:0,13:1:5:0")
    machine.standin.put({"0.gi.1.gpm.2": 100, "0.gi.5.gpm.2": 50})
    machine.of("gpu.0", 0, ALL)
    three, two = 3_000_000 // 7, 2_000_000 // 7
    assert gpu.processes(S) == {11: three, 12: two // 4, 13: two // 4}


def test_without_ratios_of_every_instance_in_use_no_share_is_told(machine: Machine) -> None:
    """Where one does not tell, its processes would seem to use nothing: then none is told."""
    machine.standin.divide(0, 3, gpu_instance=6, slices=1)
    for number in (2, 3, 5, 10):
        machine.standin.put({f"0.gi.6.gpm.{number}": None})
    machine.read(0)
    machine.of("gpu.0", 0, ALL)
    gpu = machine.meter.gpus[0]
    machine.standin.set(0, compute="11:1:1:0,12:1:6:0")
    assert gpu.processes(S) == {11: 0, 12: 0}
    machine.standin.set(0, compute="11:1:1:0")
    assert gpu.processes(2 * S) == {11: 3_000_000 // 7 // 2}


def test_who_may_not_list_the_whole_gpus_processes_lists_each_instances(machine: Machine) -> None:
    """The whole list needs more rights than each instance's own; without either the refusal is told."""
    machine.read(0)
    machine.of("gpu.0", 0, ALL)
    gpu = machine.meter.gpus[0]
    machine.standin.set(0, compute=NO_PERMISSION)
    machine.standin.put({"0.mig.0.compute": "11", "0.mig.2.compute": "12"})
    assert gpu.processes(S) == {11: 3_000_000 // 7 // 2, 12: 2_000_000 // 7 // 2}
    machine.standin.put({"0.mig.2.compute": NO_PERMISSION})
    with pytest.raises(DriverError, match="no permission"):
        gpu.processes(2 * S)


def test_instances_are_found_again_when_the_driver_is_loaded_again(machine: Machine) -> None:
    """Their handles are stale with all others, and their figures go on with new ones."""
    machine.energy(0)
    machine.standin.set(generation=1)
    machine.standin.put({"0.gi.1.gpm.2": 90, "0.mig.0.memory_used": 5 * GIB})
    now_s = 0

    def figures() -> tuple[int, int]:
        nonlocal now_s
        now_s += 1
        if (probe := machine.meter.changed()) is not None:
            machine.series = probe.series
        found = machine.of("gpu.0.mig.1.0", now_s * S)
        return found["MEMORY_USED"], found["SM_ACTIVE"]

    machine.until(lambda: figures() == (5 * GIB, 900_000))
    assert len(machine.meter.gpus) == 2


def test_a_whole_agent_shows_instances_beside_gpus(tmp_path: Path) -> None:
    """`joulebook agent --once --json` lists each with its facts, and domains have none of them."""
    standin = Standin(tmp_path, gpus=1)
    standin.full(0)
    uuid = standin.divide(0, 0, gpu_instance=1, slices=3)
    done = subprocess.run(
        [*JOULEBOOK, "agent", "--once", "--json"],
        env=os.environ | standin.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    (one,) = found["gpu_instances"]
    assert {key: one[key] for key in ("device", "part_of", "uuid", "model", "size_bytes")} == {
        "device": "gpu.0.mig.1.0",
        "part_of": "gpu.0",
        "uuid": uuid,
        "model": "3g.30gb",
        "size_bytes": 30 * GIB,
    }
    assert one["gpu_memory_used_bytes"] == 3 * GIB
    assert [gpu["uuid"] for gpu in found["gpus"]] == [uuid_of(0)]
    assert not [d for d in found["domains"] if "mig" in d["domain"]]
