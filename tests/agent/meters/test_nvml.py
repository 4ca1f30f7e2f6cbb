"""NVIDIA's GPUs through the real bindings, on a stand-in library that can fail in every way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulebook.agent.aside import BlockedError
from joulebook.agent.meters.codes import DriverError
from joulebook.agent.meters.hwmon import HwmonMeter
from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.fixtures.nvml.machine import Machine
from tests.fixtures.nvml.standin import GPU_IS_LOST, NO_PERMISSION, UNKNOWN, Standin, uuid_of
from tests.fixtures.trees import build, roots_of

REPOSITORY = Path(__file__).parents[3]
S = 1_000_000
JOULEBOOK = [sys.executable, "-m", "joulebook.cli.main"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return two GPUs and their meter."""
    return Machine(tmp_path, monkeypatch)


def test_every_gpu_is_a_domain_and_a_device(machine: Machine) -> None:
    """The energy counter is preferred, and bounded by twice the power limit."""
    probe = machine.meter.probe()
    assert [d.name for d in probe.domains] == [d.name for d in probe.devices] == ["gpu.0", "gpu.1"]
    assert {(d.kind, d.resolution_uj, d.limit_mw) for d in probe.domains} == {
        (report_pb2.SOURCE_KIND_COUNTER, 1000, 1_400_000)
    }
    assert {(d.kind, d.size_bytes) for d in probe.devices} == {(report_pb2.DEVICE_KIND_GPU, 80 << 30)}
    assert [(f.name, f.state) for f in probe.findings] == [("nvml", WORKING)]
    assert [gpu.uuid for gpu in machine.meter.gpus] == [uuid_of(0), uuid_of(1)]


def test_millijoules_become_microjoules(machine: Machine) -> None:
    """The counter's growth is booked as it came, and nothing else."""
    assert machine.energy(0) == [1_000_000_000, 0, 2_000_000_000, 0]
    machine.standin.set(0, energy=1_000_350)
    assert machine.energy(S) == [1_000_350_000, 0, 2_000_000_000, 0]
    assert machine.meter.offsets_uj() == (0, 0)


def test_how_a_gpu_fares(machine: Machine) -> None:
    """Percent become ppm and degrees become m°C; time throttled adds up by reason."""
    machine.standin.set(0, throttle=0x4 | 0x1)
    machine.read(0)
    machine.read(S)
    machine.standin.set(0, throttle=0x8 | 0x40)
    machine.read(3 * S)
    machine.standin.set(0, throttle=0x8)
    found = machine.read(4 * S)
    of_gpu = {
        name.removeprefix("gpu.0:METRIC_DEVICE_GPU_"): v for name, v in found.items() if "DEVICE" in name
    }
    assert {name: value for name, value in of_gpu.items() if not name.startswith("gpu.1")} == {
        "POWER": 100_000,
        "UTILISATION": 500_000,
        "MEMORY_UTILISATION": 200_000,
        "MEMORY_USED": 1 << 30,
        "TEMPERATURE": 40_000,
        "THROTTLED_POWER": S,
        "THROTTLED_THERMAL": 2 * S,
        "THROTTLED_OTHER": S,
    }


@pytest.mark.parametrize("energy", [None, 2**64 - 1])
def test_without_a_counter_power_is_integrated(machine: Machine, energy: int | None) -> None:
    """A GPU whose counter is not supported, or shows a value that stands for none, is metered by power."""
    machine.standin.set(1, energy=energy)
    kinds = [domain.kind for domain in machine.meter.probe().domains]
    assert kinds == [report_pb2.SOURCE_KIND_COUNTER, report_pb2.SOURCE_KIND_INSTANT_POWER]
    machine.series = machine.meter.probe().series
    machine.meter.read(0)
    machine.standin.set(1, power=300_000)
    assert machine.meter.read(S)[2:4] == [200 * S, 0]


def test_what_a_gpu_does_not_have_is_left_out(machine: Machine) -> None:
    """A metric that is not supported has no series, and is no fault."""
    machine.standin.set(1, temperature=None, throttle=None, power=2**32 - 1, memory_used=None)
    probe = machine.meter.probe()
    assert [metrics.Metric.Name(s.metric) for s in probe.series if s.device == "gpu.1"] == [
        "METRIC_DEVICE_GPU_UTILISATION",
        "METRIC_DEVICE_GPU_MEMORY_UTILISATION",
    ]
    assert [f.state for f in probe.findings] == [WORKING]
    assert len(machine.meter.read(0)) == len(probe.series)


@pytest.mark.parametrize(("code", "says"), [(GPU_IS_LOST, "fell off the bus"), (UNKNOWN, "unknown error")])
def test_a_gpu_that_fails_takes_nothing_from_the_others(machine: Machine, code: str, says: str) -> None:
    """A lost GPU is told of with what mends it; the others are read on, and its counter is made up for."""
    for index in range(2):
        machine.standin.set(index, power=0)
    machine.energy(0)
    machine.standin.set(0, all=code)
    machine.standin.set(1, energy=2_000_500)
    assert machine.energy(S) == [1_000_000_000, 0, 2_000_500_000, 0]
    (finding,) = machine.meter.findings()
    assert (finding.name, finding.state) == ("nvml:gpu.0", UNREADABLE)
    assert says in finding.reason
    assert "kernel's log" in finding.fix
    assert machine.energy(70 * S)[1] == 70 * S
    machine.standin.set(0, all=None, energy=1_000_700)
    assert machine.energy(71 * S)[0] == 1_000_700_000
    assert [(f.name, f.state) for f in machine.meter.findings()] == [("nvml:gpu.0", WORKING)]


def test_a_gpu_lost_before_the_agent_began_leaves_the_others_their_numbers(machine: Machine) -> None:
    """A GPU that does not answer at probe is told of; the next one keeps its own number."""
    machine.standin.set(0, handle=GPU_IS_LOST)
    probe = machine.meter.probe()
    assert [domain.name for domain in probe.domains] == ["gpu.1"]
    assert [(f.name, f.state) for f in probe.findings] == [("nvml", WORKING), ("nvml:gpu.0", UNREADABLE)]


def test_processes_compute_or_draw(machine: Machine) -> None:
    """Both kinds count once each, those that only draw within five looks; drawing may not be supported."""
    machine.meter.probe()
    gpu = machine.meter.gpus[0]

    def last_of_five() -> dict[int, int]:
        return [gpu.processes(0) for _ in range(5)][-1]

    assert gpu.processes(0) == {}
    machine.standin.set(0, compute="11,12", graphics="12,13")
    assert gpu.processes(0) == {11: 0, 12: 0}
    assert last_of_five() == {11: 0, 12: 0, 13: 0}
    machine.standin.set(0, graphics=None)
    assert last_of_five() == {11: 0, 12: 0}
    machine.standin.set(0, compute=NO_PERMISSION)
    with pytest.raises(DriverError, match="no permission"):
        gpu.processes(0)


def test_samples_of_processes_stand_for_a_while(machine: Machine) -> None:
    """Each sample counts once; while none is new the last ones stand, and odd ones are left out."""
    machine.meter.probe()
    gpu = machine.meter.gpus[0]
    machine.standin.set(0, compute="11,12,13")
    machine.standin.set(0, samples="11:40:100,11:60:200,12:20:200,0:9:300,13:4000000000:300")
    assert gpu.processes(S) == {11: 500_000, 12: 200_000, 13: 0}
    assert gpu.processes(2 * S) == {11: 500_000, 12: 200_000, 13: 0}
    machine.standin.set(0, samples="12:30:400")
    assert gpu.processes(3 * S) == {11: 0, 12: 300_000, 13: 0}
    assert gpu.processes(9 * S) == {11: 0, 12: 0, 13: 0}


@pytest.mark.parametrize("function", ["TotalEnergyConsumption", "UtilizationRates"])
def test_a_driver_that_hangs_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """A GPU whose driver does not come back misses readings, is told of, and is read again when it does."""
    machine = Machine(tmp_path, monkeypatch, gpus=3)
    meter = machine.meter = NvmlMeter(roots_of(tmp_path), wait_s=0.1)
    meter.probe()
    now = iter(range(0, 10**12, 1000))
    meter.read(next(now))
    machine.settle()
    machine.standin.put({f"1.hang.nvmlDeviceGet{function}": 1, "2.energy": 3_000_500, "0.energy": 1_000_500})

    def read() -> list[int]:
        return list(meter.read(next(now)))

    def hangs() -> bool:
        """Say whether GPU 1 is known to hang: on a busy machine others may be late for once too."""
        try:
            meter.gpus[1].processes(next(now))
        except BlockedError as error:
            return "not answered" in str(error) and len(read()) > 0 and is_told()
        return False

    def is_told() -> bool:
        said = machine.states().get("nvml:gpu.1")
        return said is not None and "not answered" in said.reason

    machine.until(lambda: bool(read()) and hangs())
    machine.until(lambda: read()[4] == 3_000_500_000)
    machine.until(lambda: read()[0] == 1_000_500_000)
    machine.until(hangs)
    machine.standin.put({f"1.hang.nvmlDeviceGet{function}": 0, "1.energy": 2_000_300})
    machine.until(lambda: read()[2] == 2_000_300_000)
    machine.until(lambda: bool(read()) and all(f.state == WORKING for f in machine.states().values()))
    meter.close()


def test_a_counter_that_stands_still_is_suspect(machine: Machine) -> None:
    """A counter that shows nothing while the power shows 100 W is told of, until both agree again."""
    for second in range(0, 61, 10):
        machine.standin.set(1, energy=2_000_000 + second * 100_000)
        machine.read(second * S)
    (finding,) = machine.meter.findings()
    assert (finding.name, finding.state) == ("nvml:gpu.0", SUSPECT)
    assert finding.reason == "the counter shows 0 J, the power 6000 J over 60 s"
    for second in range(70, 121, 10):
        machine.standin.set(0, energy=1_000_000 + (second - 60) * 100_000)
        machine.standin.set(1, energy=2_000_000 + second * 100_000)
        machine.read(second * S)
    assert [(f.name, f.state) for f in machine.meter.findings()] == [("nvml:gpu.0", WORKING)]


def test_a_gap_is_no_disagreement(machine: Machine) -> None:
    """While a GPU does not answer its counter runs on and its power is not seen: the two are not compared."""
    # The other one rests all along: its power of before may be told for a tick more.
    machine.standin.set(1, power=0)
    machine.read(0)
    machine.standin.set(0, all=UNKNOWN)
    machine.read(S)
    machine.standin.set(0, all=None, energy=1_000_000 + 100 * 300_000)
    machine.read(101 * S)
    assert [f.name for f in machine.meter.findings() if f.state == SUSPECT] == []


def test_probing_again_keeps_the_counters(machine: Machine) -> None:
    """A second probe goes on where the first one's counters stood."""
    machine.energy(0)
    machine.standin.set(0, energy=1_001_000)
    machine.meter.probe()
    assert machine.meter.read(S)[0] == 1_001_000_000
    machine.meter.close()
    machine.meter.close()


def test_hwmon_leaves_gpus_to_it(machine: Machine, tmp_path: Path) -> None:
    """No GPU is counted by two meters."""
    covered = frozenset(domain.name for domain in machine.meter.probe().domains)
    (tmp_path / "epyc").mkdir()
    hwmon = HwmonMeter(build("epyc", tmp_path / "epyc"), covered)
    assert not [domain.name for domain in hwmon.probe().domains if domain.name.startswith("gpu.")]
    hwmon.close()


def _once(environ: dict[str, str]) -> Any:
    done = subprocess.run(
        [*JOULEBOOK, "agent", "--once", "--json"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_agent_finds_the_library_by_itself(tmp_path: Path) -> None:
    """A whole agent, with the bindings as installed, shows each GPU's domain and how it fares."""
    found = _once(Standin(tmp_path, gpus=3).environ)
    assert [d["domain"] for d in found["domains"] if d["source"] == "nvml"] == ["gpu.0", "gpu.1", "gpu.2"]
    assert found["gpus"][2]["gpu_temperature_mc"] == 40_000


@pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="needs an NVIDIA GPU")
def test_a_real_gpu(record_property: Callable[[str, object], None]) -> None:
    """On a machine with a GPU its energy grows by what its power says, and a tick's read is short."""
    found = _once({})
    domains = [d for d in found["domains"] if d["source"] == "nvml"]
    assert len(domains) == len(found["gpus"]) > 0
    for domain, gpu in zip(domains, found["gpus"], strict=True):
        record_property(domain["domain"], {**domain, **gpu})
        assert domain["power_mw"] == pytest.approx(gpu["gpu_power_mw"], rel=0.7)
    timed = subprocess.run(
        [sys.executable, "-m", "tests.bench.nvml_cost"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    cost = json.loads(timed.stdout)
    record_property("cost", cost)
    assert cost["read_p50_us"] < 100_000 * len(domains)
