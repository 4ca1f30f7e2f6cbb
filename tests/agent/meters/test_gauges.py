"""Gauges are read beside the tick; one that hangs takes no other along."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.gauges import Gauge, GaugeReader, GaugesConfig
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.hwmon import HwmonMeter
from joulebook.agent.source import UNREADABLE, WORKING
from tests.fixtures.trees import build, write

S = 1_000_000
LONG_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that comes within a minute."""
    end_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.005)


class Obstinate(Gauge):
    """A gauge of a file that comes back when the test lets it."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, 1000, 1000)
        self.gate = threading.Event()
        self.gate.set()

    def read(self, clock: Callable[[], int]) -> None:
        """Read once, when let."""
        self.begun_us = clock()
        assert self.gate.wait(LONG_S)
        super().read(clock)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """Return a sensor that shows 250 W."""
    write(tmp_path / "power1_input", 250_000_000)
    fd = os.open(tmp_path / "power1_input", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_gauge_is_read_between_ticks(fd: int) -> None:
    """Every tick has its energy though the tick reads nothing: 250 W, to the µJ, over what is not unread.

    A reading that a tick just missed counts from when it was taken, though that tick told the time as unread.
    """
    gauge, reader = Gauge(fd, 1000, 1000), GaugeReader("test")
    began_us = boot_us()
    gauge.advance(began_us)
    reader.start([gauge])
    until(lambda: _advanced(gauge).energy_uj > 0)
    # A reading between the clock and the tick would be in the tick, too.
    assert reader.close()
    now_us = boot_us()
    gauge.advance(now_us)
    read_us = now_us - began_us - gauge.power.unread_us
    assert 250 * read_us - 1 <= gauge.power.energy_uj <= 250 * (now_us - began_us)
    # Nobody reads any more: the level is held for a while, and then it is unread.
    gauge.advance(now_us + 100 * S)
    assert gauge.power.missing
    assert gauge.power.energy_uj <= 250 * (now_us - began_us + gauge.power.hold_us)


def test_one_that_hangs_is_left_alone(fd: int) -> None:
    """Gauges behind one that hangs are read on by another thread; it joins in again when it comes back."""
    hanging, other = Obstinate(fd), Gauge(fd, 1000, 1000)
    hanging.gate.clear()
    reader = GaugeReader("test")
    reader.start([hanging, other])
    until(lambda: hanging.begun_us > 0)
    late_us = hanging.begun_us + 2 * S
    assert hanging.hangs(late_us)
    reader.watch(late_us)
    reader.watch(late_us)
    until(lambda: _advanced(other).energy_uj > 0)
    assert _advanced(hanging).energy_uj == 0
    hanging.gate.set()
    until(lambda: _advanced(hanging).energy_uj > 0)
    assert reader.close()


def test_garbage_is_told_and_no_energy(tmp_path: Path) -> None:
    """A gauge that gives no number adds nothing, says what it gave, and is unread."""
    write(tmp_path / "power1_input", "N/A")
    fd = os.open(tmp_path / "power1_input", os.O_RDONLY)
    gauge, reader = Gauge(fd, 1000, 1000), GaugeReader("test")
    gauge.advance(0)
    reader.start([gauge])
    until(lambda: "N/A" in gauge.error)
    gauge.advance(S)
    assert (gauge.power.energy_uj, gauge.power.unread_us) == (0, S)
    assert reader.close()
    os.close(fd)


def test_hwmon_beside_the_tick(tmp_path: Path) -> None:
    """Grace's meters read so: energy for each, one that vanishes is told of, and back it works again."""
    roots = build("grace", tmp_path)
    meter = HwmonMeter(roots, reads_per_s=1000)
    assert [domain.name for domain in meter.probe().domains] == ["module.0", "cpu.0", "core.0", "uncore.0"]
    meter.read(boot_us())
    until(lambda: all(value > 0 for value in meter.read(boot_us())[::2]))
    gauge = roots.sysfs / "class/hwmon/hwmon1/device/power1_average"
    states: list[int] = []

    def told(state: int) -> bool:
        """Read on; say whether the CPU's meter is told to stand so; on a busy node others may falter."""
        meter.read(boot_us())
        states.extend(finding.state for finding in meter.findings() if finding.name == "hwmon:cpu.0")
        return states[-1:] == [state]

    gauge.write_text("")
    until(lambda: told(UNREADABLE))
    write(gauge, 120_000_000)
    until(lambda: told(WORKING))
    meter.close()


@pytest.mark.parametrize("reads_per_s", [-1.0, 1001.0])
def test_absurd_rates_are_refused(reads_per_s: float) -> None:
    """A rate that nobody can want is an error that names it."""
    (error,) = GaugesConfig(reads_per_s=reads_per_s).errors()
    assert error.startswith(f"agent.gauges.reads_per_s = {reads_per_s}")


def _advanced(gauge: Gauge) -> HeldPower:
    gauge.advance(boot_us())
    return gauge.power
