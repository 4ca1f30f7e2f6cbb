"""What power shows of jobs' changes is given to whom it is likely of."""

import numpy as np
import pytest

from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.curve import THREADS
from joulebook.collector.ledger.missed import missed_changes

_TICKS = 400


def _missed(steps: tuple[float, float], step_w: float, seed: int) -> list[tuple[int, int]]:
    """Return what is found of two jobs of ten threads that step at 200, where power steps too."""
    rng = np.random.default_rng(seed)
    later = np.arange(_TICKS) >= 200
    busy = np.zeros((3, _TICKS))
    busy[:2] = 10 + np.outer(steps, later) + 0.1 * rng.standard_normal((2, _TICKS))
    course = Course(
        curve=THREADS,
        most=64,
        use_step=0.0,
        among_jobs=0.4,
        among_phases=0.1,
        by_factors=True,
        changes_show=True,
        unseen=0.0,
        interval_s=np.ones(_TICKS),
        active_w=80 + step_w * later + rng.standard_normal(_TICKS),
        use=busy,
        busy=busy,
        held=np.zeros(busy.shape),
        may_vary=np.array([True, True, False]),
    )
    phase = np.repeat([[0], [1], [2]], _TICKS, axis=1)
    begins = [np.array([0, _TICKS])] * 3
    return missed_changes(course, phase, begins, np.full(_TICKS, 80.0), 4.0 * busy, np.full(3, 0.3))


@pytest.mark.parametrize("seed", range(10))
def test_a_change_of_power_is_of_whom_stepped_then(seed: int) -> None:
    """Of two jobs alike, a step of power is that of the one of which use stepped."""
    ((job, at),) = _missed((0.0, 0.3), 5.0, seed)
    assert job == 1
    assert abs(at - 200) <= 3


def test_power_that_does_not_step_tells_of_nobody() -> None:
    """Noise alone shows hardly a change in a hundred courses."""
    assert sum(len(_missed((0.0, 0.0), 0.0, seed)) for seed in range(100)) <= 3


def test_what_is_known_is_not_missed() -> None:
    """Where somebody's phase begins already, power may step."""
    course_ticks = np.arange(_TICKS) >= 200
    phase = np.array([course_ticks * 1, course_ticks * 0 + 2])
    busy = np.full((2, _TICKS), 5.0)
    course = Course(
        curve=THREADS,
        most=64,
        use_step=0.0,
        among_jobs=0.4,
        among_phases=0.1,
        by_factors=True,
        changes_show=True,
        unseen=0.0,
        interval_s=np.ones(_TICKS),
        active_w=80 + 10.0 * course_ticks,
        use=busy,
        busy=busy,
        held=np.zeros(busy.shape),
        may_vary=np.array([True, False]),
    )
    begins = [np.array([0, 200, _TICKS]), np.array([0, _TICKS])]
    assert missed_changes(course, phase, begins, np.full(_TICKS, 80.0), 4.0 * busy, np.full(2, 0.1)) == []
