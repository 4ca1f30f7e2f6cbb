"""The fair split of a package's power adds up, and is the integral that it is said to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.ledger.curve import STRAIGHT, THREADS
from joulebook.collector.ledger.fair import fair_w

_THREADS = 64
_amounts = st.lists(st.floats(0, 12), min_size=1, max_size=5)
_slopes = st.lists(st.floats(0.05, 8), min_size=len(THREADS.ends), max_size=len(THREADS.ends)).map(np.array)


@given(busy=_amounts, slopes=_slopes)
def test_shares_add_up(busy: list[float], slopes: np.ndarray) -> None:
    """Who is no less intensive than the mean's discount allows: all shares add up to w̄ g(S)."""
    column = np.array(busy)[:, None]
    shares = fair_w(THREADS, _THREADS, slopes, column, np.ones_like(column))
    drawn = THREADS.power_factors(column.sum(axis=0), _THREADS) @ slopes
    np.testing.assert_allclose(shares.sum(axis=0), drawn, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("total", [0.5, 3.84, 5.0, 17.0, 32.0, 60.0, 64.0])
def test_a_share_is_the_cost_of_its_own_growth(total: float) -> None:
    """c_j (w_j Φ + w̄ (φ − Φ)) is the integral of c_j ∂F/∂c_j as all come in together."""
    slopes = np.exp(THREADS.log_slopes)
    parts, intensity = np.array([0.2, 0.5, 0.3]) * total, np.array([0.9, 1.2, 1.0])

    def drawn(busy: np.ndarray) -> float:
        whole = busy.sum()
        return float(
            (intensity @ busy) / whole * (THREADS.power_factors(np.array([whole]), _THREADS) @ slopes)[0]
        )

    steps = (np.arange(20_000) + 0.5) / 20_000
    grown = np.zeros(3)
    for j in range(3):
        up = np.zeros(3)
        up[j] = 1e-6
        grown[j] = (
            np.mean([(drawn(t * parts + up) - drawn(t * parts)) / 1e-6 for t in steps[::20]]) * parts[j]
        )
    shares = fair_w(THREADS, _THREADS, slopes, parts[:, None], intensity[:, None])[:, 0]
    np.testing.assert_allclose(shares, grown, rtol=2e-3)


def test_a_straight_curve_charges_by_use_alone() -> None:
    """Where the next thread costs what the first did, Φ and φ are the slope."""
    at = np.array([0.1, 10.0, 64.0])
    slopes = np.full(len(THREADS.ends), 2.5)
    np.testing.assert_allclose(THREADS.shared_factors(at, _THREADS) @ slopes, 2.5)
    np.testing.assert_allclose(THREADS.power_factors(at, _THREADS) @ slopes / at, 2.5)
    np.testing.assert_allclose(STRAIGHT.shared_factors(at, _THREADS), 1.0)


@given(busy=_amounts, intensity=st.floats(0.05, 6), slopes=_slopes)
def test_nobody_is_paid(busy: list[float], intensity: float, slopes: np.ndarray) -> None:
    """No share is negative, however odd the curve, and who did nothing pays nothing."""
    column = np.array([*busy, 0.0])[:, None]
    weights = np.full_like(column, intensity)
    weights[0] = 0.05
    shares = fair_w(THREADS, _THREADS, slopes, column, weights)
    assert shares.min() >= 0
    assert shares[-1] == 0
