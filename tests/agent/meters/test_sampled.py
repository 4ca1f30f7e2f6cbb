"""The ± of integrated gauges covers the truth: simulated sensors, under loads of known energy."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from joulebook.agent.meters.counter import PowerIntegral
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.sampled import Declared, Sampled
from joulebook.agent.sampling import SamplingError
from tests.simulated.sensors import MS, Load, S, Sensor, SquareWave, WhiteNoise

_TRIALS = 25
_WARM_US = 60 * S
_LOW_MW, _HIGH_MW = 100_000, 400_000


def _trial(
    sensor: Sensor,
    gap_us: int,
    uneven: float,
    declared: Declared,
    load: Load,
    rng: Random,
    seconds: int,
) -> tuple[float, float]:
    """Return the error of the energy of so many seconds, and the ± told of it, as parts of the truth."""
    held, error = HeldPower(max(3 * gap_us, 2 * S), **declared), SamplingError()
    now_us = 20 * S + rng.randrange(S)
    held.advance(now_us)
    error.update(now_us, 0)
    tick_us, began_us = now_us + S, now_us + _WARM_US
    at_began: tuple[int, int, int] | None = None
    while True:
        now_us += round(gap_us * rng.uniform(1 - uneven, 1 + uneven))
        while tick_us <= now_us:
            held.advance(tick_us)
            error_uj = error.update(tick_us, held.variance_nj2)
            if at_began is None and tick_us >= began_us:
                # A job begins.
                error.renew()
                at_began = tick_us, held.energy_uj, error_uj
            elif at_began is not None and tick_us - at_began[0] >= seconds * S:
                true_uj = (load.energy_nj(tick_us) - load.energy_nj(at_began[0])) / 1000
                return (
                    abs(held.energy_uj - at_began[1] - true_uj) / true_uj,
                    (error_uj - at_began[2]) / true_uj,
                )
            tick_us += S
        held.take(sensor.shows_mw(load, now_us), now_us)


def _loads(rng: Random, seconds: int, periods_ms: Sequence[int]) -> list[Load]:
    waves: list[Load] = [
        SquareWave(period_ms * MS, _LOW_MW, _HIGH_MW, rng.randrange(period_ms * MS))
        for period_ms in periods_ms
    ]
    length_us = (seconds + 150) * S
    noises = [WhiteNoise(rng, step_ms * MS, _LOW_MW, _HIGH_MW, length_us) for step_ms in (10, 100, 1000)]
    return [*waves, *noises]


_PERIODS_MS = (20, 100, 130, 500, 1000, 1300, 2000, 7300, 10_000)
# How often a gauge is read, and by how much that is uneven.
_GAUGE = (100 * MS, 0.5)
_AVERAGE = (500 * MS, 0.5)
_BMC = (5 * S, 0.25)


@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize(
    ("sensor", "read", "declared", "periods_ms"),
    [
        pytest.param(Sensor("", MS, 0), _GAUGE, {"period_us": S}, _PERIODS_MS, id="momentary, quick"),
        # In step with it, 1 s and its parts, it shows one value for ever.
        pytest.param(
            Sensor("", S, 0, phase_us=333 * MS),
            _GAUGE,
            {"period_us": S},
            (130, 1300, 2000, 7300, 10_000),
            id="momentary, each second",
        ),
        pytest.param(
            Sensor("", 100 * MS, S), _AVERAGE, {"window_us": S}, _PERIODS_MS, id="mean of 1 s, each 100 ms"
        ),
        pytest.param(
            Sensor("", S, S), _AVERAGE, {"window_us": S}, _PERIODS_MS, id="mean of 1 s, each second"
        ),
        pytest.param(Sensor("", S, S), _BMC, {}, _PERIODS_MS, id="a BMC's mean of 1 s, asked each 5 s"),
    ],
)
def test_the_error_is_within_what_is_told(
    sensor: Sensor, read: tuple[int, float], declared: Declared, periods_ms: Sequence[int], seconds: int
) -> None:
    """Under periodic loads and white noise 95 % are within the ±, and hardly one beyond twice it."""
    rng = Random(f"{sensor} {seconds}")
    within = trials = far = 0
    for _ in range(_TRIALS):
        for load in _loads(rng, seconds, periods_ms):
            error, told = _trial(sensor, *read, declared, load, rng, seconds)
            trials += 1
            # A part in ten thousand is what readings in whole mW, and ticks in whole µJ, come to.
            within += error <= told + 1e-4
            far += error > 2 * told + 1e-4
    assert within / trials >= 0.95
    assert far / trials <= 0.005


def test_a_steady_power_has_no_such_error() -> None:
    """What does not change between readings is known, however seldom it is read."""
    held, integral = HeldPower(15 * S), PowerIntegral(period_us=S)
    for second in range(0, 100, 5):
        held.take(250_000, second * S)
        held.advance(second * S)
        integral.update(250_000, second * S)
    assert held.variance_nj2 == integral.variance_nj2 == 0


def test_a_gap_without_readings_is_unread_and_no_error() -> None:
    """Beyond the hold nothing is claimed of the energy, so no ± is told of it either."""
    held, integral = HeldPower(2 * S), PowerIntegral()
    held.take(100_000, 0)
    held.take(200_000, 3600 * S)
    assert held.variance_nj2 == (2 * S * 100_000) ** 2
    integral.update(100_000, 0)
    integral.miss(S)
    integral.update(200_000, 3600 * S)
    assert integral.variance_nj2 == 0


@pytest.mark.parametrize(
    ("declared", "gap_us", "still_us", "span_us"),
    [
        pytest.param({}, 100 * MS, 9 * S, 100 * MS, id="nothing declared: the gap"),
        pytest.param({"window_us": S}, 100 * MS, 9 * S, S, id="the window"),
        pytest.param({"period_us": S}, 100 * MS, 300 * MS, 300 * MS, id="as long as it stood still"),
        pytest.param({"period_us": S}, 100 * MS, 9 * S, S, id="its period at most"),
    ],
)
def test_what_is_declared_is_how_long_a_change_may_have_been_there(
    declared: Declared, gap_us: int, still_us: int, span_us: int
) -> None:
    """The change for that long, half the square of it."""
    sampled = Sampled(**declared)
    sampled.take(1000, gap_us, still_us)
    assert sampled.variance_nj2 == (span_us * 1000) ** 2 // 2
