"""The filter in plain Python is the textbook's."""

import numpy as np
import pytest

from joulebook.agent.intensities.estimate import Estimate


def test_observations_one_by_one_are_least_squares_of_all() -> None:
    """Means and covariance are those of Bayes' rule on all observations at once."""
    rng = np.random.default_rng(1)
    deviation, gradients = np.array([2.0, 0.5, 1.0]), rng.normal(size=(20, 3))
    seen = gradients @ [1.0, -0.4, 0.3] + 0.1 * rng.normal(size=20)
    estimate = Estimate()
    for name, each in zip("abc", deviation.tolist(), strict=True):
        estimate.add(name, 0.0, each)
    for gradient, value in zip(gradients, seen, strict=True):
        estimate.see(list(enumerate(gradient.tolist())), float(value - gradient @ estimate.mean), 0.01)
    precision = np.diag(deviation**-2) + gradients.T @ gradients / 0.01
    np.testing.assert_allclose(estimate.covariance, np.linalg.inv(precision), rtol=1e-6)
    np.testing.assert_allclose(
        estimate.mean, np.linalg.solve(precision, gradients.T @ seen / 0.01), rtol=1e-6
    )
    along = np.array([0.5, -1.0, 0.2])
    told, withs = estimate.sum_of(list(enumerate(along.tolist())))
    assert told == pytest.approx(along @ np.linalg.inv(precision) @ along)
    np.testing.assert_allclose(withs, np.linalg.inv(precision) @ along, rtol=1e-6)


def test_what_is_forgotten_leaves_the_others_as_they_were() -> None:
    """Letting go of one takes its row and column, and what comes anew knows nothing of the others."""
    estimate = Estimate()
    for name in "abc":
        estimate.add(name, 1.0, 1.0)
    estimate.see([(0, 1.0), (1, 1.0), (2, 1.0)], 1.0, 0.1)
    kept = [[estimate.covariance[i][j] for j in (0, 2)] for i in (0, 2)]
    estimate.forget("b")
    estimate.add("d", 0.0, 3.0)
    assert estimate.names == ["a", "c", "d"]
    assert [row[:2] for row in estimate.covariance[:2]] == kept
    assert estimate.covariance[2] == [0.0, 0.0, 9.0]


def test_one_reading_that_is_absurd_moves_little() -> None:
    """What is fifty deviations off moves a mean by no more than what is five off."""
    moved = []
    for apart in (5.0, 50.0, 5000.0):
        estimate = Estimate()
        estimate.add("a", 0.0, 0.6)
        estimate.see([(0, 1.0)], apart, 0.64)
        moved.append(abs(estimate.mean[0]))
    assert max(moved) <= moved[0] + 1e-9


def test_no_more_becomes_unknown_than_can_be() -> None:
    """Moves add up to a bound; what is less known than that is made no better known."""
    estimate = Estimate()
    estimate.add("a", 0.0, 0.1)
    estimate.add("b", 0.0, 2.0)
    for _ in range(10_000):
        estimate.loosen(0, 0.05, 1.0)
        estimate.loosen(1, 0.05, 1.0)
    assert [estimate.covariance[i][i] for i in range(2)] == [1.0, 4.0]
