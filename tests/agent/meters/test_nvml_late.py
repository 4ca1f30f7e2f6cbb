"""GPUs of NVIDIA whose driver answers after the tick: the first answer, and powers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.meters.nvml import NvmlMeter
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
