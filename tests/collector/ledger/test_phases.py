"""Phases are found where use changes, and nowhere else."""

import numpy as np
import pytest

from joulebook.collector.ledger.phases import change_points


@pytest.mark.parametrize("seed", range(10))
def test_changes_are_found_where_they_are(seed: int) -> None:
    """Levels that hold for ten ticks and more, a multiple of the noise apart, are told apart to the tick."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(10, 80, size=8)
    levels = np.cumsum(rng.choice([-3.0, 3.0], size=8)) + 30
    series = np.repeat(levels, lengths) + 0.2 * rng.standard_normal(int(lengths.sum()))
    np.testing.assert_array_equal(change_points(series, 0.1), [0, *np.cumsum(lengths)])


def test_noise_is_no_change() -> None:
    """In a level with noise alone hardly a change is found in hundreds of series."""
    rng = np.random.default_rng(1)
    found = [len(change_points(5 + rng.standard_normal(600), 0.01)) - 2 for _ in range(200)]
    assert sum(found) <= 10


def test_moves_that_are_in_two_ticks_are_no_changes() -> None:
    """Use that moves in seconds of its own, half in one tick and half in the next, is no change either."""
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        moves = rng.standard_normal(601)
        found += len(change_points(5 + (moves[1:] + moves[:-1]) / 2, 0.01)) - 2
    assert found <= 20


def test_a_job_that_is_mostly_as_busy_as_can_be_does_not_change() -> None:
    """Where use is cut off at what a job holds, what falls below that at times is no change."""
    rng = np.random.default_rng(3)
    found = [
        len(change_points(np.minimum(10 + rng.standard_normal(600), 10.3), 0.01)) - 2 for _ in range(200)
    ]
    assert sum(found) <= 20


@pytest.mark.parametrize("ticks", [1, 2, 3])
def test_little_is_one_phase(ticks: int) -> None:
    """A series of few equal ticks is one phase."""
    np.testing.assert_array_equal(change_points(np.ones(ticks), 0.1), [0, ticks])
