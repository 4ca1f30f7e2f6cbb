"""What is thought of a part's curve before and while it shows."""

import numpy as np

from joulebook.collector.ledger.curve import STRAIGHT, THREADS


def test_a_bend_that_shows_is_not_held_to_be_one_that_cannot_be() -> None:
    """The further slopes are bent, the further they may be; other shapes and heights leave it as it is."""
    bends = np.array(THREADS.bends)
    flat = np.zeros(len(bends))

    def bend(apart: np.ndarray) -> float:
        """Return the variance of what bends, in deviations of the likely bend."""
        free = THREADS.covariance(apart) - THREADS.covariance(flat)
        return float(bends @ free @ bends) / float(bends @ bends) ** 2

    assert 0 < bend(bends) < bend(2 * bends) < bend(4 * bends)
    assert bend(-4 * bends) == bend(4 * bends)
    assert abs(bend(flat + 0.5)) < 1e-3
    np.testing.assert_array_equal(STRAIGHT.covariance(np.ones(1)), STRAIGHT.covariance(np.zeros(1)))
