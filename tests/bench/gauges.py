"""How right the energy is that is made of a power sensor, beside polling it once a second.

Sensors and loads are simulated, so the truth is known: make bench PARTS=gauges.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from random import Random

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.gauges import Gauge, GaugeReader
from joulebook.agent.meters.held import HeldPower
from tests.bench.rows import Row, row
from tests.simulated.sensors import MS, S, Sensor, SquareWave

_READS_PER_S = 10
_LENGTH_US = 60 * S
_TRIALS = 20
_LOW_MW, _HIGH_MW = 100_000, 400_000
_SENSORS = (
    Sensor("momentary, each 1 ms", 1 * MS, 0),
    Sensor("25 ms of every 100 ms", 100 * MS, 25 * MS),
    Sensor("mean of 1 s, each 100 ms", 100 * MS, 1 * S),
    Sensor("mean of 1 s, each 1 s", 1 * S, 1 * S),
)
_PERIODS_MS = (20, 100, 130, 500, 1000, 1300, 2000, 7300, 10_000)


def _naive_error(sensor: Sensor, load: SquareWave, rng: Random) -> float:
    """Return the error of Σ power × a second, read at every second."""
    began_us = rng.randrange(S)
    times = range(began_us, began_us + _LENGTH_US, S)
    told_nj = sum(sensor.shows_mw(load, at_us + 10 * S) * S for at_us in times)
    true_nj = load.energy_nj(began_us + _LENGTH_US + 10 * S) - load.energy_nj(began_us + 10 * S)
    return told_nj / true_nj - 1


def _our_error(sensor: Sensor, load: SquareWave, rng: Random) -> float:
    """Return the error of what every tick shows after reads at random moments between ticks."""
    held = HeldPower(2 * S)
    now_us = began_us = 10 * S + rng.randrange(S)
    held.advance(began_us)
    end_us = began_us + _LENGTH_US
    gap_us = S // _READS_PER_S
    # The first read is there at the first tick, as in the agent after its start.
    while now_us <= end_us:
        held.take(sensor.shows_mw(load, now_us), now_us)
        now_us += round(gap_us * (0.5 + rng.random()))
    held.advance(end_us)
    true_nj = load.energy_nj(end_us) - load.energy_nj(began_us)
    return held.energy_uj * 1000 / true_nj - 1


def errors(sensor: Sensor, period_ms: int) -> tuple[float, float]:
    """Return our mean error and that of naive polling, in per cent, over random phases."""
    rng = Random(period_ms)
    ours, naive = [], []
    for _ in range(_TRIALS):
        load = SquareWave(period_ms * MS, _LOW_MW, _HIGH_MW, rng.randrange(period_ms * MS))
        ours.append(abs(_our_error(sensor, load, rng)) * 100)
        naive.append(abs(_naive_error(sensor, load, rng)) * 100)
    return statistics.mean(ours), statistics.mean(naive)


def _thread_cost_us(gauges: int, seconds: float = 5.0) -> float:
    """Return the CPU time a second of reading so many gauges beside the tick, in µs."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "power1_input"
        path.write_text("250000000\n")
        fd = os.open(path, os.O_RDONLY)
        reader = GaugeReader("bench")
        made = [Gauge(fd, 1000, S // _READS_PER_S) for _ in range(gauges)]
        reader.start(made)
        time.sleep(0.5)
        began_ns, began_us = time.process_time_ns(), boot_us()
        time.sleep(seconds)
        cost_us = (time.process_time_ns() - began_ns) / 1000 / ((boot_us() - began_us) / 1e6)
        reader.close()
        os.close(fd)
    return cost_us


def measure() -> list[Row]:
    """Return the error of each sensor under each load, and what the thread costs."""
    rows = []
    for sensor in _SENSORS:
        for period_ms in _PERIODS_MS:
            ours, naive = errors(sensor, period_ms)
            name = f"energy error, {sensor.name}, square wave of {period_ms} ms"
            rows.append(row(name, "%", ours, peer="polled at 1 Hz", peer_value=naive))
    for gauges in (1, 8):
        what = f"CPU a second, {gauges} gauges read {_READS_PER_S} times a second"
        rows.append(row(what, "µs", _thread_cost_us(gauges)))
    return rows
