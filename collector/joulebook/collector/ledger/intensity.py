"""Learn how hard each job drives a part of a machine from how that part's power moves with what jobs do.

A job has an intensity in each of its phases: what its unit of use draws, beside the mean. The part's curve
and all intensities are fitted together. Jobs that never change, come or go while others stay cannot be told
apart; they keep the intensity that is likely, and the error says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.fair import beyond_idle_w
from joulebook.collector.ledger.fit import Fit
from joulebook.collector.ledger.missed import missed_changes
from joulebook.collector.ledger.phases import change_points
from joulebook.collector.ledger.stretches import Stretches

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Changes in use below this part of a job's most are noise.
_NOISE = 0.03
# More unknowns than that cost more than they tell: then jobs have one intensity each, the largest ones first.
_MOST_UNKNOWNS = 256
_ROUNDS = 12
# Less use is none.
_LEAST_USE = 1e-3


@dataclass(frozen=True, slots=True)
class Learnt:
    """What each account caused in each tick, W (accounts, ticks), and its error as a part of its sum, 1 σ.

    moved_w is how much of what was caused is in the idle floor, W (ticks).
    """

    caused_w: Floats
    error: Floats
    moved_w: Floats


def learn(course: Course) -> Learnt:
    """Fit and split. What idle machines do all the time is in the floor: it counts only beyond that."""
    use, always = _beside_idle(course)
    noise_floors = _NOISE * np.maximum(course.busy.max(axis=1, initial=0.0), 0.3)
    begins = _begins(course, noise_floors)
    phase, owner = _phases(use, begins)
    if not len(owner) or not (course.active_w > 0).any():
        return Learnt(course.use.copy(), np.zeros(len(use)), np.zeros(use.shape[1]))
    fit = _fitted(course, use, phase, owner, always)
    if course.changes_show:
        alone_w = course.curve.alone_w(use, course.most, np.exp(fit.log_slopes))
        explained_w = (np.where(phase >= 0, fit.intensity[phase], 1.0) * alone_w).sum(axis=0)
        missed = missed_changes(course, phase, begins, explained_w, alone_w, noise_floors)
        if missed and len(owner) + len(missed) <= _MOST_UNKNOWNS:
            for job, at in missed:
                begins[job] = np.union1d(begins[job], at)
            phase, owner = _phases(use, begins)
            fit = _fitted(course, use, phase, owner, always)
    # Rounded, so that another machine's last bits give the same split.
    intensity, log_slopes = np.round(fit.intensity, 3), np.round(fit.log_slopes, 3)
    floor_w = round(fit.floor_w, _digits(course.active_w))
    by_tick = np.where(phase >= 0, intensity[phase], 1.0)
    caused, moved = beyond_idle_w(course.curve, course.most, np.exp(log_slopes), use, always, by_tick)
    nobody = caused.sum(axis=0) <= 0
    caused[:, nobody] = course.use[:, nobody]
    moved = np.where(nobody, 0.0, moved - floor_w)
    error = np.hypot(fit.error(intensity, log_slopes, floor_w), course.unseen * _of_others(course, caused))
    return Learnt(caused, error, moved)


def _of_others(course: Course, caused_w: Floats) -> Floats:
    """Return which part others cause while each account causes something (accounts)."""
    own_j = caused_w * course.interval_s
    total = np.maximum(caused_w.sum(axis=0), _LEAST_USE)
    beside_j = (own_j * (1.0 - caused_w / total)).sum(axis=1)
    part: Floats = beside_j / np.maximum(own_j.sum(axis=1), 1e-9)
    return part


def _digits(active_w: Floats) -> int:
    """Return how many decimals a power of a part has that draws so much: the fourth digit is the last."""
    return 3 - math.floor(math.log10(max(float(np.abs(active_w).max()), 1.0)))


def _fitted(course: Course, use: Floats, phase: Ints, owner: Ints, always: Floats) -> Fit:
    fit = Fit(Stretches(course.interval_s, course.active_w, use, phase), course, owner, always)
    for _ in range(_ROUNDS):
        fit.improve()
    return fit


def _beside_idle(course: Course) -> tuple[Floats, Floats]:
    """Return use as power shows it, and how much each account uses all the time though it is no job.

    On a straight line what is always there counts nothing: it is taken off.
    """
    use, always = course.use.copy(), np.zeros(len(course.use))
    others = ~course.may_vary
    always[others] = np.quantile(use[others], 0.05, axis=1)
    if len(course.curve.ends) == 1:
        use = np.maximum(use - always[:, None], 0.0)
        always[:] = 0.0
    use[use < _LEAST_USE] = 0.0
    return use, always


def _begins(course: Course, noise_floors: Floats) -> list[Ints]:
    """Return where the phases of each account begin, as its use tells, and the number of ticks."""
    ticks = course.busy.shape[1]
    begins = [
        change_points(level, floor) if varies else np.array([0, ticks])
        for level, floor, varies in zip(course.busy, noise_floors.tolist(), course.may_vary, strict=True)
    ]
    if sum(len(b) - 1 for b in begins) > _MOST_UNKNOWNS:
        begins = [np.array([0, ticks])] * len(begins)
    return begins


def _phases(use: Floats, begins: list[Ints]) -> tuple[Ints, Ints]:
    """Return the phase of each account in each tick (accounts, ticks), -1: none; and whose each phase is."""
    phase = np.full(use.shape, -1, dtype=np.int64)
    owner: list[int] = []
    largest = np.argsort(-use.sum(axis=1), kind="stable")[:_MOST_UNKNOWNS]
    for account in largest.tolist():
        for begin, end in zip(begins[account][:-1], begins[account][1:], strict=True):
            if use[account, begin:end].any():
                phase[account, begin:end] = len(owner)
                owner.append(account)
    return phase, np.array(owner, dtype=np.int64)
