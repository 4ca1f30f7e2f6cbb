"""GPUs whose driver answers after the tick, begins after the agent, or comes with another GPU."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml import NvmlMeter
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Probe
from tests.fixtures.nvml.machine import LIMIT_S, Machine
from tests.fixtures.nvml.standin import NOT_SUPPORTED
from tests.fixtures.trees import roots_of

S = 1_000_000
J = 1_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a GPU that no tick waits for long, and that never counts as hung."""
    machine = Machine(tmp_path, monkeypatch, gpus=1)
    machine.meter = NvmlMeter(roots_of(tmp_path), wait_s=0.001, start_s=LIMIT_S, hangs_s=1e9)
    return machine


def _until(machine: Machine, now_us: int, holds: Callable[[list[int]], bool]) -> list[int]:
    """Read at one moment until that holds."""
    values: list[int] = []

    def read() -> bool:
        values[:] = list(machine.meter.read(now_us))[:2]
        return holds(values)

    machine.until(read)
    return values


def test_a_counter_that_is_late_loses_nothing(machine: Machine) -> None:
    """While the driver is away nothing is counted, unread or told; then all of it is there."""
    machine.meter.probe()
    # The first tick waits: what it misses is never booked.
    machine.meter.wait_s = LIMIT_S
    assert list(machine.meter.read(0))[:2] == [1_000_000_000, 0]
    machine.meter.wait_s = 0.001
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 1})
    for second in (1, 2, 3):
        machine.standin.set(0, energy=1_000_000 + second * 100_000)
        assert list(machine.meter.read(second * S))[:2] == [1_000_000_000, 0]
    assert machine.meter.findings() == ()
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 0})
    assert _until(machine, 4 * S, lambda values: values[0] > 1_000_000_000) == [1_300_000_000, 0]
    assert machine.meter.findings() == ()


def test_a_first_answer_that_is_late_is_no_lump(machine: Machine) -> None:
    """What the counter had counted before the agent saw it is not booked; the time until then is unread."""
    machine.meter.probe()
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 1})
    assert list(machine.meter.read(S))[:2] == [0, 0]
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 0})
    first_uj, unread_us = _until(machine, 3 * S, lambda values: values[1] > 0)
    assert first_uj == 0
    assert 0 < unread_us <= 2 * S
    machine.standin.set(0, energy=1_000_100)
    assert _until(machine, 4 * S, lambda values: values[0] > 0) == [100_000, unread_us]


def test_a_power_that_is_late_counts_to_when_it_came(machine: Machine) -> None:
    """Integrated power stands still while the driver is away, and goes on with the time of its answer."""
    machine.standin.set(0, energy=NOT_SUPPORTED)
    machine.meter.probe()
    _until(machine, 0, lambda _: machine.meter.is_waiting() is False)
    machine.standin.put({"0.hang.nvmlDeviceGetPowerUsage": 1})
    before = list(machine.meter.read(S))[:2]
    assert before[1] == 0
    assert list(machine.meter.read(2 * S))[:2] == before
    machine.standin.put({"0.hang.nvmlDeviceGetPowerUsage": 0})
    # The last answer is of 1,000 s at the latest: 100 W, every one of its seconds once.
    after = _until(machine, 1000 * S, lambda values: values[0] == 1000 * 100 * J)
    assert after[1] == 0
    assert machine.meter.findings() == ()


def _joined(meter: NvmlMeter, seconds: range) -> Callable[[], bool]:
    """Return what looks, tick by tick, whether GPUs joined."""
    ticks = iter(seconds)
    found: list[Probe] = []

    def joined() -> bool:
        meter.read(next(ticks) * S)
        if (probe := meter.changed()) is not None:
            found.append(probe)
        return bool(found and found[-1].domains)

    return joined


def test_a_driver_that_is_loaded_later_is_found(tmp_path: Path, machine: Machine) -> None:
    """Without a driver there is nothing; once it is loaded its GPUs join, and count from there."""
    machine.meter.wait_s = LIMIT_S
    machine.standin.set(init="!9")
    (finding,) = machine.meter.probe().findings
    assert finding.state == ABSENT
    assert list(machine.meter.read(0)) == []
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    machine.standin.set(init=None)
    machine.until(_joined(machine.meter, range(30, 10**9, 30)))
    assert [gpu.domain for gpu in machine.meter.gpus] == ["gpu.0"]
    energy_uj = _until(machine, 10**15, lambda values: values[:1] == [1_000_000_000])
    assert energy_uj == [1_000_000_000, 0]
    machine.meter.close()


def test_another_gpu_joins_and_the_first_goes_on(tmp_path: Path, machine: Machine) -> None:
    """A GPU that is plugged in is found by the driver's list; the one before it keeps its counter."""
    gpus = tmp_path / "proc/driver/nvidia/gpus"
    (gpus / "0000:01:00.0").mkdir(parents=True)
    machine.meter = NvmlMeter(roots_of(tmp_path), wait_s=LIMIT_S, start_s=LIMIT_S)
    machine.meter.probe()
    assert list(machine.meter.read(0))[:2] == [1_000_000_000, 0]
    machine.standin.turn(1, uuid="GPU-1", name="Stand-in 100", minor=1, limit=700_000, energy=5000, power=0)
    machine.standin.set(count=2)
    (gpus / "0000:02:00.0").mkdir()
    machine.standin.set(0, energy=1_000_900)
    machine.until(_joined(machine.meter, range(30, 10**9, 30)))
    values = list(machine.meter.read(10**15))[:4]
    assert values == [1_000_900_000, 0, 5_000_000, 0]
    assert len(machine.meter.gpus) == 2
    machine.meter.close()


def test_a_driver_that_hangs_at_the_start_is_found_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start waits so long and no longer; it is told of, and its GPUs join once it has answered."""
    machine = Machine(tmp_path, monkeypatch, gpus=1)
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 1})
    machine.meter = NvmlMeter(roots_of(tmp_path), wait_s=LIMIT_S, start_s=0.01)
    (finding,) = machine.meter.probe().findings
    assert (finding.name, finding.state) == ("nvml", UNREADABLE)
    assert "has not answered" in finding.reason
    assert finding.fix
    assert machine.meter.changed() is None
    machine.standin.put({"0.hang.nvmlDeviceGetTotalEnergyConsumption": 0})
    found: list[Probe] = []

    def came() -> bool:
        if (probe := machine.meter.changed()) is not None:
            found.append(probe)
        return bool(found)

    machine.until(came)
    assert [(f.name, f.state) for f in found[0].findings] == [("nvml", WORKING)]
    assert list(machine.meter.read(0))[:2] == [1_000_000_000, 0]
    machine.meter.close()
