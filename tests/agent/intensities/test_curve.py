"""The curve that the agent learns is the one that its page says."""

import math

import numpy as np
import pytest

from joulebook.agent.intensities.curve import LEVEL, POWER, SECOND, draws_w, following


@pytest.mark.parametrize("threads", [0.4, 9.0, 31.0, 32.5, 50.0, 64.0])
@pytest.mark.parametrize("power", [0.65, 0.9, 1.0])
def test_gradients_and_the_discount_are_those_of_the_curve(threads: float, power: float) -> None:
    """Gradients are differences' limits, and φ/Φ is what the integral gives."""
    state = [math.log(4.0), power, math.log(0.3)]
    at = draws_w(state, threads, 32)
    for place, by in zip((LEVEL, POWER, SECOND), (at[0], at[1], at[2]), strict=True):
        other = state.copy()
        other[place] += 1e-6
        assert (draws_w(other, threads, 32)[0] - at[0]) / 1e-6 == pytest.approx(by, rel=1e-3, abs=1e-4)
    # Φ = ∫ g/s ds / S: of so fine a grid that the first point is next to nothing.
    grid = np.linspace(1e-2, threads, 20_000)
    each = np.array([draws_w(state, s, 32)[0] / s for s in grid])
    mean = (np.trapezoid(each, grid) + draws_w(state, 1e-2, 32)[0] / power) / threads
    assert following(state, threads, 32) == pytest.approx(min(at[0] / threads / mean, 1.0), rel=2e-3)
