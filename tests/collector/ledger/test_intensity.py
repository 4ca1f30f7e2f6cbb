"""Intensities are learnt where the mix tells jobs apart, and left alone where it does not."""

from dataclasses import replace

import numpy as np
import pytest

from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.curve import STRAIGHT, THREADS
from joulebook.collector.ledger.fair import fair_w
from joulebook.collector.ledger.intensity import Learnt, learn

_THREADS = 64
_SLOPES = 4.0 * np.exp(THREADS.log_slopes)


def _run(busy: np.ndarray, intensity: np.ndarray, noise: float, seed: int) -> tuple[Course, np.ndarray]:
    """Return what a package of jobs and a daemon (the last row) shows, and what each truly caused, J."""
    caused = fair_w(THREADS, _THREADS, _SLOPES, busy, intensity)
    active = caused.sum(axis=0) * (1 + noise * np.random.default_rng(seed).standard_normal(busy.shape[1]))
    return _course(np.maximum(active, 0), busy), caused.sum(axis=1)


def _course(active_w: np.ndarray, busy: np.ndarray) -> Course:
    """Return a course of a package; the last row is no job's."""
    may_vary = np.arange(len(busy)) < len(busy) - 1
    return Course(
        curve=THREADS,
        most=_THREADS,
        use_step=0.0,
        among_jobs=0.4,
        among_phases=0.1,
        by_factors=True,
        changes_show=True,
        unseen=0.0,
        interval_s=np.ones(busy.shape[1]),
        active_w=active_w,
        use=busy,
        busy=busy,
        held=np.zeros(busy.shape),
        may_vary=may_vary,
    )


def _energy_j(run: Course, learnt: Learnt) -> np.ndarray:
    total = learnt.caused_w.sum(axis=0)
    energy: np.ndarray = (
        learnt.caused_w / np.where(total > 0, total, 1) * run.active_w * run.interval_s
    ).sum(axis=1)
    return energy


def _steps(ticks: int, *spans: tuple[int, int, float]) -> np.ndarray:
    """Return three jobs' busy threads, and a daemon that does nothing."""
    busy = np.zeros((len(spans) + 1, ticks))
    for row, (begin, end, level) in zip(busy, spans, strict=False):
        row[begin:end] = level
    return busy


@pytest.mark.parametrize("seed", range(5))
def test_jobs_that_come_and_go_are_told_apart(seed: int) -> None:
    """A job that drives its cores twice as hard as another pays for it, to a few per cent."""
    busy = _steps(900, (0, 700, 10.0), (200, 900, 12.0), (400, 600, 8.0))
    intensity = np.repeat([[0.7], [1.4], [1.0], [1.0]], 900, axis=1)
    run, truth = _run(busy, intensity, 0.02, seed)
    learnt = learn(run)
    off = np.abs(_energy_j(run, learnt) - truth)[:3] / truth[:3]
    by_cpu_time = busy[:3] / busy.sum(axis=0) * run.active_w
    naive = np.abs(by_cpu_time.sum(axis=1) - truth[:3]) / truth[:3]
    assert off.max() < 0.06
    assert off.mean() < naive.mean() / 3


def test_a_phase_has_an_intensity_of_its_own() -> None:
    """A job whose cores begin to wait for memory is charged less from then on."""
    busy = _steps(900, (0, 900, 10.0), (0, 900, 10.0), (100, 800, 5.0))
    busy[0, 450:] = 12.0
    intensity = np.ones((4, 900))
    intensity[0, 450:] = 0.6
    run, _ = _run(busy, intensity, 0.01, 1)
    caused = learn(run).caused_w
    before, after = caused[0, 200:440].mean() / 10, caused[0, 460:700].mean() / 12
    assert after < 0.8 * before


@pytest.mark.parametrize("seed", range(5))
def test_a_phase_that_use_hardly_shows_is_seen_by_power(seed: int) -> None:
    """A job that drives its cores harder from some moment, and uses hardly more, pays for that alone."""
    rng = np.random.default_rng(100 + seed)
    busy = _steps(900, (0, 900, 10.0), (150, 750, 10.0))
    intensity = np.ones((3, 900))
    intensity[0, 450:] = 1.5
    busy[0] += 0.2 * (np.arange(900) >= 450) + 0.1 * rng.standard_normal(900)
    run, truth = _run(busy, intensity, 0.01, seed)
    off = np.abs(_energy_j(run, learn(run)) - truth)[:2] / truth[:2]
    assert off.max() < 0.05


def test_who_cannot_be_told_apart_is_alike_and_said_to_be_unsure() -> None:
    """Jobs that never change share by CPU time; the error is as wide as jobs differ."""
    busy = _steps(600, (0, 600, 10.0), (0, 600, 20.0))
    run, _ = _run(busy, np.repeat([[0.6], [1.4], [1.0]], 600, axis=1), 0.02, 1)
    learnt = learn(run)
    energy = _energy_j(run, learnt)
    assert energy[0] / energy[1] == pytest.approx(0.5, rel=0.02)
    assert learnt.error[:2].min() > 0.1


def test_who_is_alone_is_sure() -> None:
    """A job that has its package to itself gets all of it; what is left of its error is that of noise."""
    busy = _steps(300, (0, 300, 10.0))
    run, truth = _run(busy, np.ones((2, 300)), 0.02, 1)
    learnt = learn(run)
    assert 0 < learnt.error[0] < 0.01
    assert _energy_j(run, learnt)[0] == pytest.approx(truth[0], rel=0.01)


def test_who_never_changes_is_told_apart_by_how_use_moves() -> None:
    """Of jobs that are there all the time, what they use from second to second tells which drives harder."""
    rng = np.random.default_rng(2)
    busy = _steps(900, (0, 900, 10.0), (0, 900, 20.0))
    busy[:2] *= 1 + 0.05 * rng.standard_normal((2, 900))
    run, truth = _run(busy, np.repeat([[0.7], [1.2], [1.0]], 900, axis=1), 0.01, 1)
    learnt = learn(run)
    off = np.abs(_energy_j(run, learnt) - truth)[:2] / truth[:2]
    assert off.max() < 0.06
    assert learnt.error[:2].max() < 0.06
    assert (off <= 2.5 * learnt.error[:2]).all()


def test_errors_are_as_wide_as_they_are_said_to_be() -> None:
    """Of jobs of drawn intensities, about 95 in 100 lie within twice their error."""
    rng = np.random.default_rng(3)
    within = []
    for seed in range(60):
        spans = [
            (int(b), int(b + rng.integers(200, 500)), float(rng.uniform(3, 14)))
            for b in rng.integers(0, 400, 3)
        ]
        busy = _steps(900, *spans)
        drawn = np.append(np.exp(0.35 * rng.standard_normal(3)), 1.0)
        run, truth = _run(busy, np.repeat(drawn[:, None], 900, axis=1), 0.02, seed)
        learnt = learn(run)
        off = np.abs(_energy_j(run, learnt) - truth)[:3]
        within += (off <= 1.96 * np.hypot(learnt.error[:3], 0.005) * truth[:3]).tolist()
    assert 0.88 <= np.mean(within) <= 1.0


@pytest.mark.parametrize("case", ["nothing", "nobody", "daemon", "crowd"])
def test_what_tells_nothing_is_split_by_use(case: str) -> None:
    """Every share is finite, none is negative, and whoever used the package has one."""
    ticks = 60
    busy = np.zeros((3, ticks))
    active = np.full(ticks, 50.0)
    if case == "nothing":
        active[:] = 0
    if case == "daemon":
        busy[2] = 0.3
    if case == "crowd":
        busy = np.abs(np.random.default_rng(1).standard_normal((400, ticks)))
    learnt = learn(_course(active, busy))
    assert np.isfinite(learnt.caused_w).all()
    assert np.isfinite(learnt.error).all()
    assert learnt.caused_w.min() >= 0
    used = busy.sum(axis=0) > 0
    assert (learnt.caused_w.sum(axis=0)[used] > 0).all()


def test_what_is_always_busy_takes_the_dear_threads_of_the_floor() -> None:
    """What a daemon draws alone beyond its part beside others is in the floor, and is the jobs' doing."""
    busy = _steps(900, (100, 800, 20.0), (300, 900, 10.0))
    busy[-1] = 1.0
    intensity = np.ones(busy.shape)
    caused = fair_w(THREADS, _THREADS, _SLOPES, busy, intensity)
    alone_w = float(THREADS.power_factors(np.array([1.0]), _THREADS)[0] @ _SLOPES)
    noise = 0.2 * np.random.default_rng(1).standard_normal(900)
    learnt = learn(_course(caused.sum(axis=0) - alone_w + noise, busy))
    in_floor_w = alone_w - caused[-1]
    np.testing.assert_allclose(learnt.moved_w[:100], 0.0, atol=0.3)
    np.testing.assert_allclose(learnt.moved_w[310:790], in_floor_w[310:790], rtol=0.25)


def test_a_floor_that_is_off_is_told_by_the_idle_machine() -> None:
    """What an idle machine draws beyond its floor is not what jobs cause."""
    busy = _steps(900, (200, 800, 20.0), (300, 800, 10.0))
    intensity = np.ones(busy.shape)
    caused = fair_w(THREADS, _THREADS, _SLOPES, busy, intensity)
    noise = np.random.default_rng(2).standard_normal(900)
    learnt = learn(_course(caused.sum(axis=0) + 0.8 + noise, busy))
    np.testing.assert_allclose(learnt.moved_w[210:790], -0.8, atol=0.3)


def test_use_that_is_rounded_alike_again_and_again_is_not_taken_for_exact() -> None:
    """Jobs on a GPU that do the same few things over and over are told apart as far as whole per cents tell.

    What goes from 19.4 to 30.6 % and back goes from 0.19 to 0.31 for the driver, a thousand ticks on as well.
    """
    deviations = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        exact = np.zeros((3, 1000))
        for row in exact[:2]:
            few = rng.uniform(0.1, 0.2) + rng.uniform(0.02, 0.06) * np.arange(3)
            row[:] = np.tile(few[rng.permutation(3)], 334)[: exact.shape[1]]
        exact[0, 3:600] *= rng.uniform(0.5, 1.0)
        caused_w = exact * [[rng.uniform(250, 550)], [rng.uniform(250, 550)], [0.0]]
        told = np.rint(exact * 100) / 100
        run = replace(
            _course(caused_w.sum(axis=0) + rng.standard_normal(exact.shape[1]), told),
            curve=STRAIGHT,
            most=1.0,
            use_step=0.01,
            changes_show=False,
        )
        learnt = learn(run)
        true_j = caused_w.sum(axis=1)[:2]
        deviations.append((_energy_j(run, learnt)[:2] / true_j - 1) / learnt.error[:2])
    assert np.mean(np.abs(deviations) < 1.96) >= 0.9
