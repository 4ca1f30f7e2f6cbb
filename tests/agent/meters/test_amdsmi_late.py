"""GPUs of AMD that are lost, hang or are divided anew, and a driver that goes or is loaded again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.agent.meters.amdsmi import AmdsmiMeter
from joulebook.agent.source import UNREADABLE, WORKING
from tests.fixtures.amdsmi.machine import LIMIT_S, Machine
from tests.fixtures.amdsmi.standin import IO, NOT_FOUND, UNITS_A_JOULE, UNKNOWN

S = 1_000_000
ENERGY = "hang.amdsmi_get_energy_count"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Return two GPUs and their meter."""
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.meter.close()


def impatient(machine: Machine, hangs_s: float = 1e9) -> None:
    """Have no tick wait for long but the first: what it misses is never booked."""
    machine.meter.close()
    machine.meter = AmdsmiMeter(machine.roots, wait_s=LIMIT_S, start_s=LIMIT_S, hangs_s=hangs_s)
    machine.probe()
    assert list(machine.meter.read(0))[:4] == [1000 * S, 0, 2000 * S, 0]
    machine.meter.wait_s = 0.001


@pytest.mark.parametrize("code", [IO, NOT_FOUND, UNKNOWN, "!2", "!14"])
def test_a_gpu_that_is_lost_takes_nothing_from_the_others(machine: Machine, code: str) -> None:
    """It is told of with what mends it; the others are read on, and its counter is made up for."""
    machine.energy(0)
    machine.standin.set(0, all=code.removeprefix("!"))
    machine.standin.set(1, energy=2200 * UNITS_A_JOULE)
    assert machine.energy(S) == [1000 * S, 0, 2200 * S, 0]
    finding = machine.states()["amdsmi:gpu.0"]
    assert finding.state == UNREADABLE
    assert finding.reason
    assert finding.fix
    machine.standin.set(0, all=None, energy=1400 * UNITS_A_JOULE)
    assert machine.energy(2 * S) == [1400 * S, 0, 2200 * S, 0]
    assert machine.states()["amdsmi:gpu.0"].state == WORKING


def test_a_gpu_that_is_divided_while_it_is_read_has_partitions_from_then_on(machine: Machine) -> None:
    """Partitions join as devices; the energy of the GPU goes on as if nothing had been."""
    machine.energy(0)
    machine.standin.divide(0, 2, first=2)
    machine.standin.set(0, energy=1100 * UNITS_A_JOULE)
    machine.show("renderD130")
    probe = machine.change(30 * S)
    assert [d.name for d in probe.domains] == ["gpu.0", "gpu.1"]
    assert [d.name for d in probe.devices] == ["gpu.0", "gpu.0.xcp.0", "gpu.0.xcp.1", "gpu.1"]
    assert machine.energy(31 * S) == [1100 * S, 0, 2000 * S, 0]


def test_a_driver_that_is_loaded_again(machine: Machine) -> None:
    """All handles are stale then: AMD SMI is begun again, and counters that begin at 0 are no energy lost."""
    machine.energy(0)
    machine.standin.set(generation=1, init="!34")
    for second in (1, 2):
        assert list(machine.meter.read(second * S))[:4] == [1000 * S, 0, 2000 * S, 0]
    assert {machine.states()[f"amdsmi:gpu.{gpu}"].state for gpu in range(2)} == {UNREADABLE}
    machine.standin.set(init=None)
    for index in range(2):
        machine.standin.set(index, energy=20 * UNITS_A_JOULE)
    now_s = 2

    def begins() -> bool:
        nonlocal now_s
        now_s += 1
        machine.meter.read(now_s * S)
        assert machine.meter.changed() is None
        return {finding.state for finding in machine.states().values()} == {WORKING}

    machine.until(begins)
    before = machine.energy(now_s * S)
    assert before[0] == 1000 * S
    assert before[1] > 0
    for index in range(2):
        machine.standin.set(index, energy=220 * UNITS_A_JOULE)
    after = machine.energy((now_s + 1) * S)
    assert [after[place] - before[place] for place in range(4)] == [200 * S, 0, 200 * S, 0]


def test_a_driver_that_hangs_at_one_gpu_is_read_on_at_the_others(machine: Machine) -> None:
    """The one that hangs is told of; the other is read on, and both are whole when it comes back."""
    impatient(machine, hangs_s=0.05)
    machine.standin.set(0, **{ENERGY: 1})
    machine.standin.set(1, energy=2200 * UNITS_A_JOULE)
    machine.until(lambda: list(machine.meter.read(S))[2:4] == [2200 * S, 0])
    machine.until(lambda: "amdsmi:gpu.0" in machine.states() or not machine.meter.read(2 * S))
    assert machine.states()["amdsmi:gpu.0"].state == UNREADABLE
    assert "has not answered" in machine.states()["amdsmi:gpu.0"].reason
    machine.standin.set(0, energy=1200 * UNITS_A_JOULE, **{ENERGY: 0})
    machine.until(lambda: list(machine.meter.read(3 * S))[:1] == [1200 * S])


def test_the_driver_goes_and_nothing_is_booked_that_was_not_read(machine: Machine) -> None:
    """While there is no driver nothing grows and all of it is unread; every tick is bounded."""
    machine.energy(0)
    machine.standin.set(generation=1, init="!34")
    for second in range(1, 200):
        values = list(machine.meter.read(second * S))
        assert values[0::2][:2] == [1000 * S, 2000 * S]
        machine.meter.changed()
    assert values[1] >= 130 * S
    assert machine.states()["amdsmi:gpu.1"].state == UNREADABLE
    assert machine.states()["amdsmi:gpu.1"].fix
