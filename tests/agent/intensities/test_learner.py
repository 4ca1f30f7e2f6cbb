"""What a busy CPU of each job draws comes out of power that moves with what jobs do."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joulebook.agent.intensities.learner import Learner, Learnt
from joulebook.agent.intensities.seen import Part

_CORES, _A_THREAD_W = 32, 4.0


def _report(
    busy: dict[str, float], drives: dict[str, float], rng: np.random.Generator, noise: float = 0.02
) -> list[list[Part]]:
    """Return a Report's two parts of a package on which so many threads of jobs are busy.

    drives says what a thread of a job draws of what one of the mean does; power is 60 W and in proportion.
    """
    parts = []
    for _ in range(2):
        own = {job: use * float(1 + 0.02 * rng.standard_normal()) for job, use in busy.items()}
        drawn_w = 60 + _A_THREAD_W * sum(use * drives[job] for job, use in own.items())
        read_w = drawn_w * float(1 + noise / np.sqrt(5) * rng.standard_normal())
        parts.append([Part(0, 5.0, read_w - 60, read_w, own, 0.1, is_read=True)])
    return parts


def _learn(learner: Learner, parts: list[list[Part]]) -> Learnt | None:
    return learner.learn(["cpu.0"], _CORES, parts)


@pytest.mark.parametrize("seed", range(5))
def test_jobs_that_come_and_go_are_told_apart(seed: int) -> None:
    """Of two jobs one draws twice as much a thread: after ten Reports with comings and goings it is known."""
    rng = np.random.default_rng(seed)
    drives = {"job:a": 4 / 3, "job:b": 2 / 3}
    uses = [(8, 0), (8, 8), (8, 8), (0, 8), (4, 8), (8, 2), (8, 8), (2, 8), (8, 4), (8, 8)]
    learner = Learner()
    learnt = None
    for a, b in uses:
        learnt = _learn(learner, _report({"job:a": float(a), "job:b": float(b)}, drives, rng))
    assert learnt is not None
    assert learnt.job_w["job:a"] / learnt.job_w["job:b"] == pytest.approx(2.0, rel=0.25)
    share = learnt.job_w["job:a"] / (learnt.job_w["job:a"] + learnt.job_w["job:b"])
    assert share == pytest.approx(2 / 3, abs=2.5 * learnt.error["job:a"] * share + 0.02)
    assert learnt.error["job:a"] < 0.1


def test_a_mix_that_never_changes_stays_with_cpu_time() -> None:
    """Where nothing tells jobs apart each CPU is charged alike, and the error says that they may differ."""
    learner = Learner()
    busy = {"job:a": 8.0, "job:b": 4.0}
    for _ in range(60):
        learnt = _learn(learner, [[Part(0, 5.0, 50.0, 110.0, busy, 0.1, is_read=True)]] * 2)
        assert learnt is not None
        assert learnt.job_w["job:a"] == pytest.approx(learnt.job_w["job:b"], rel=1e-4)
        assert min(learnt.error.values()) > 0.12
    rng = np.random.default_rng(1)
    for _ in range(60):
        noisy = [
            [Part(0, 5.0, p.beyond_w, p.drawn_w, busy, 0.1, is_read=True)]
            for (p,) in _report(busy, {"job:a": 1.4, "job:b": 0.2}, rng)
        ]
        learnt = _learn(learner, noisy)
    assert learnt is not None
    assert learnt.job_w["job:a"] == pytest.approx(learnt.job_w["job:b"], rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_what_a_job_does_is_followed(seed: int) -> None:
    """A job that drove CPUs harder than the other, and then less hard, is charged so in 30 Reports."""
    rng = np.random.default_rng(seed)
    learner = Learner()
    ratios = []
    for number in range(60):
        early = number < 30
        a, b = (8.0 if early else 5.0) + 2 * (number // 7 % 2), 8.0 - 2 * (number // 10 % 2)
        drives = {"job:a": 1.6 if early else 0.6, "job:b": 1.0}
        learnt = _learn(learner, _report({"job:a": a, "job:b": b}, drives, rng, noise=0.005))
        assert learnt is not None
        ratios.append(learnt.job_w["job:a"] / learnt.job_w["job:b"])
    assert ratios[29] > 1.2
    assert ratios[-1] < 1.0


def test_its_state_is_bounded_whoever_comes() -> None:
    """Of a hundred jobs at once, and thousands in all, the sixteen busiest are known, all told."""
    rng = np.random.default_rng(3)
    learner = Learner()
    for turn in range(20):
        names = [f"job:{turn}.{i}" for i in range(100)]
        busy = {name: 0.01 * (i + 1) for i, name in enumerate(names)}
        learnt = _learn(learner, _report(busy, dict.fromkeys(names, 1.0), rng))
        assert learnt is not None
        assert set(learnt.job_w) == set(names)
        assert learner.unknowns <= 3 + 1 + 16


def test_jobs_that_are_as_busy_as_others_do_not_take_turns() -> None:
    """Of twenty jobs of like use the same sixteen are known for as long as that is so."""
    rng = np.random.default_rng(5)
    busy = {f"job:{i}": 2.0 for i in range(20)}
    learner = Learner()
    known = set()
    for _ in range(40):
        _learn(learner, _report(busy, dict.fromkeys(busy, 1.0), rng))
        known.add(frozenset(learner._known.names))
    assert len(known) == 1


def test_time_counts_and_not_how_many_reports_there_are() -> None:
    """Where a Report is cut each second as much is unknown of jobs as where it lasts ten."""
    busy = {"job:a": 8.0, "job:b": 4.0}
    part = Part(0, 5.0, 50.0, 110.0, busy, 0.1, is_read=True)
    whole, cut = Learner(), Learner()
    for _ in range(200):
        long = _learn(whole, [[part], [part]])
        for _ in range(10):
            short = _learn(cut, [[replace(part, length_s=1.0)]])
    assert long is not None
    assert short is not None
    assert short.error["job:a"] == pytest.approx(long.error["job:a"], rel=0.1)


def test_what_is_always_busy_comes_back_after_a_moment_without() -> None:
    """Beside busy jobs rounding shows no other thread once: the idle floor has services' use for all that."""
    busy = {"job:a": 8.0, "job:b": 4.0}
    part = Part(0, 5.0, 50.0, 110.0, busy, 0.5, is_read=True)
    learner = Learner()
    learnt = None
    for others in (*[0.5] * 5, 0.0, *[0.5] * 30):
        learnt = _learn(learner, [[replace(part, others=others, length_s=1800.0)]])
    assert learnt is not None
    assert learnt.others_w < 0.1 * learnt.job_w["job:a"]


@pytest.mark.parametrize(("first", "count"), [(0, 1), (30, 1), (30, 20)])
@pytest.mark.parametrize("beyond_w", [1e3, 1e5])
def test_readings_that_were_none_are_got_over(first: int, count: int, beyond_w: float) -> None:
    """What a meter showed at first, once or for minutes, however much, is forgotten within ten minutes."""
    rng = np.random.default_rng(7)
    learner = Learner()
    learnt = None
    for number in range(first + count + 60):
        a, b = 8.0 + 4 * (number // 5 % 2), 8.0 - 5 * (number // 7 % 2)
        parts = _report({"job:a": a, "job:b": b}, {"job:a": 1.4, "job:b": 0.6}, rng)
        if first <= number < first + count:
            parts = [[replace(part, beyond_w=beyond_w, drawn_w=beyond_w + 60)] for (part,) in parts]
        learnt = _learn(learner, parts)
    assert learnt is not None
    assert learnt.job_w["job:a"] / learnt.job_w["job:b"] == pytest.approx(1.4 / 0.6, rel=0.3)


def test_nothing_is_known_before_anything_was_busy() -> None:
    """An idle node tells nothing, nor do readings that were missed; no figure is negative or none."""
    rng = np.random.default_rng(4)
    idle = _report({"job:a": 0.0, "job:b": 0.0}, {"job:a": 1.0, "job:b": 1.0}, rng)
    learner = Learner()
    assert _learn(learner, idle) is None
    busy = _report({"job:a": 9.0, "job:b": 1.0}, {"job:a": 1.0, "job:b": 0.0}, rng)
    unread = [[Part(0, 5.0, 0.0, 0.0, p.busy, p.others, is_read=False)] for (p,) in busy]
    assert _learn(learner, unread) is None
    for _ in range(30):
        learnt = _learn(learner, _report({"job:a": 9.0, "job:b": 1.0}, {"job:a": 1.0, "job:b": 0.0}, rng))
    assert learnt is not None
    assert min(*learnt.job_w.values(), learnt.others_w) > 0
    before = _learn(learner, unread)
    assert before is not None
    assert before.job_w["job:a"] == pytest.approx(learnt.job_w["job:a"], rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e9), st.floats(0, 1e9), st.floats(0, 1e4), st.floats(0, 1e4), st.booleans()
        ),
        min_size=1,
        max_size=40,
    )
)
# Of jobs that draw ten times as much as was likely services were charged less than nothing.
@example([(1e3, 1060.0, 1.0, 40.0, True)] * 2 + [(1e4, 10060.0, 40.0, 1.0, True)] * 2)
def test_whatever_meters_show_there_is_a_figure_or_none(
    shown: list[tuple[float, float, float, float, bool]],
) -> None:
    """Absurd powers and uses end in finite figures above 0, or in none; they never stop an agent."""
    learner = Learner()
    for beyond_w, drawn_w, a, b, is_read in shown:
        busy = {"job:a": a, "job:b": b}
        learnt = _learn(learner, [[Part(0, 5.0, beyond_w, drawn_w, busy, 0.1, is_read)]] * 2)
        if learnt is not None:
            told = (*learnt.job_w.values(), learnt.others_w)
            assert all(0 < each < math.inf for each in told)
            assert all(0 <= each < math.inf for each in learnt.error.values())
