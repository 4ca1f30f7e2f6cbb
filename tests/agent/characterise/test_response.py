"""Estimates of what a sensor does, against sensors of known period, window and lag."""

from random import Random

import pytest

from joulebook.agent.characterise.response import Course, response, update_period_us
from tests.simulated.sensors import MS, S, Sensor, UnevenWave

_HALF_US = 3 * S
_EDGES = 24
_BEGIN_US = 20 * S


def uneven() -> list[int]:
    """Return when the load goes up and down in turn: halves of 3 s and up to a second more."""
    rng = Random(7)
    edges = [_BEGIN_US + S]
    while len(edges) < _EDGES:
        edges.append(edges[-1] + _HALF_US + rng.randrange(S))
    return edges


EDGES = uneven()
LOAD = UnevenWave(EDGES, 100_000, 300_000)


def record(sensor: Sensor, step_us: int = 5 * MS, *, counter: bool = False, noise_mw: int = 300) -> Course:
    """Read a sensor under the load as a meter would: a counter as it stands, a gauge by trapezoid."""
    rng = Random(sensor.period_us + sensor.window_us)
    times, energies = [], []
    at_us, energy_nj, before_mw, before_us = _BEGIN_US, 0, 0, _BEGIN_US
    noise: dict[int, int] = {}
    while at_us < EDGES[-1] + _HALF_US + S:
        if counter:
            taken_us = at_us - (at_us - sensor.phase_us) % sensor.period_us - sensor.lag_us
            energies.append(LOAD.energy_nj(taken_us) // 1000)
        else:
            update = (at_us - sensor.phase_us) // sensor.period_us
            noise.setdefault(update, rng.randrange(-noise_mw, noise_mw))
            shown_mw = sensor.shows_mw(LOAD, at_us) + noise[update]
            energy_nj += (shown_mw + before_mw) * (at_us - before_us) // 2
            before_mw, before_us = shown_mw, at_us
            energies.append(energy_nj // 1000)
        times.append(at_us)
        at_us += step_us + rng.randrange(-step_us // 10, step_us // 10)
    return Course(times, energies)


@pytest.mark.parametrize(
    ("period_ms", "window_ms", "lag_ms"),
    [
        (100, 0, 0),
        (100, 25, 0),
        (100, 100, 0),
        (100, 1000, 0),
        (50, 50, 200),
        (500, 500, 0),
        (1000, 1000, 0),
        (20, 20, 500),
    ],
)
def test_a_gauge_is_found_out(period_ms: int, window_ms: int, lag_ms: int) -> None:
    """Period, window and lag of a simulated gauge come out, as near as the reading allows."""
    sensor = Sensor("", period_ms * MS, window_ms * MS, lag_ms * MS, phase_us=1_234)
    course = record(sensor)
    period_us = update_period_us(course, is_counter=False)
    assert period_us == pytest.approx(period_ms * MS, rel=0.1, abs=6 * MS)
    assert period_us is not None
    found = response(course, EDGES[::2], EDGES[1::2], period_us, is_counter=False)
    assert found is not None
    assert found.rise_mw == pytest.approx(200_000, rel=0.1)
    # What is small beside the period and the reading's own step cannot be told from 0.
    assert found.window_us == pytest.approx(window_ms * MS, rel=0.15, abs=60 * MS + period_ms * MS // 4)
    assert found.lag_us == pytest.approx(lag_ms * MS, rel=0.15, abs=40 * MS)


@pytest.mark.parametrize(("period_ms", "lag_ms"), [(10, 0), (100, 0), (100, 300), (1000, 0)])
def test_a_counter_is_found_out(period_ms: int, lag_ms: int) -> None:
    """A counter's period and lag come out; it has no window."""
    course = record(Sensor("", period_ms * MS, 0, lag_ms * MS, phase_us=777), counter=True)
    period_us = update_period_us(course, is_counter=True)
    assert period_us == pytest.approx(period_ms * MS, rel=0.1)
    assert period_us is not None
    found = response(course, EDGES[::2], EDGES[1::2], period_us, is_counter=True)
    assert found is not None
    assert found.window_us == 0
    assert found.lag_us == pytest.approx(lag_ms * MS, rel=0.1, abs=10 * MS + period_ms * MS // 10)


def test_faster_than_it_is_read() -> None:
    """A counter that moves at every reading is told to be as fast as the reading, which says at least."""
    course = record(Sensor("", 1 * MS, 0), counter=True)
    assert update_period_us(course, is_counter=True) == pytest.approx(course.step_us, rel=0.1)


def test_what_does_not_follow_is_said() -> None:
    """A sensor of something else has a period but no response."""
    rng = Random(1)
    times = list(range(20 * S, 90 * S, 5 * MS))
    energy, energies, power = 0, [], 50_000
    for number, _ in enumerate(times):
        if number % 20 == 0:
            power = 50_000 + rng.randrange(-500, 500)
        energies.append(energy)
        energy += power * 5 * MS // 1000
    course = Course(times, energies)
    assert update_period_us(course, is_counter=False) == pytest.approx(100 * MS, rel=0.1)
    assert response(course, EDGES[::2], EDGES[1::2], 100 * MS, is_counter=False) is None


def test_a_constant_figure_has_no_period() -> None:
    """Nothing can be told of what never changes."""
    times = list(range(0, 10 * S, 5 * MS))
    course = Course(times, [50 * t // 1000 for t in times])
    assert update_period_us(course, is_counter=False) is None
    assert update_period_us(Course(times, [7] * len(times)), is_counter=True) is None
