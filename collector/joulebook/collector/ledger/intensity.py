"""Learn how hard each job drives a part of a machine from how that part's power moves with what jobs do.

A job has an intensity in each of its phases: what its unit of use draws, beside the mean. The part's curve
and all intensities are fitted together (Gauss–Newton, normal priors), on the means of stretches in which no
job changes. Jobs that never change, come or go while others stay cannot be told apart; they keep the
intensity that is likely, and the error says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.curve import Curve
from joulebook.collector.ledger.fair import fair_w
from joulebook.collector.ledger.phases import change_points

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# What is no job hardly differs from the mean.
_OF_OTHERS = 0.1
# What the model does not know of a stretch's power, as a part of it, and the idle floor's error in W.
_MODEL_ERROR, _FLOOR_ERROR_W = 0.015, 1.0
# Changes in use below this part of a job's most are noise.
_NOISE = 0.03
# More unknowns than that cost more than they tell: then jobs have one intensity each, the largest ones first.
_MOST_UNKNOWNS = 256
_ROUNDS = 12
# Less use is none.
_LEAST_USE = 1e-3
_LEAST, _MOST = 0.05, 6.0


@dataclass(frozen=True, slots=True)
class Course:
    """A part's ticks: what it drew beyond idle, W (ticks), and use by account, (accounts, ticks).

    most is the most use there can be. Phases are told by CPU time, busy (accounts, ticks). may_vary says
    which accounts are jobs. Intensities are about 1: how far apart those of jobs are, and of a job's phases.
    """

    curve: Curve
    most: float
    among_jobs: float
    among_phases: float
    interval_s: Floats
    active_w: Floats
    use: Floats
    busy: Floats
    may_vary: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What each account caused in each tick, W (accounts, ticks), and its error as a part of its sum, 1 σ."""

    caused_w: Floats
    error: Floats


def learn(course: Course) -> Learnt:
    """Fit and split. What idle machines do all the time is in the floor: it counts only beyond that."""
    use = _beyond_idle(course.use, course.may_vary)
    phase, owner = _phases(use, course.busy, course.may_vary)
    if not len(owner) or not (course.active_w > 0).any():
        return Learnt(course.use.copy(), np.zeros(len(use)))
    fit = _Fit(course, use, phase, owner)
    for _ in range(_ROUNDS):
        fit.improve()
    # Rounded, so that another machine's last bits give the same split.
    intensity, log_slopes = np.round(fit.intensity, 3), np.round(fit.log_slopes, 3)
    by_tick = np.where(phase >= 0, intensity[phase], 1.0)
    caused = fair_w(course.curve, course.most, np.exp(log_slopes), use, by_tick)
    nobody = caused.sum(axis=0) <= 0
    caused[:, nobody] = course.use[:, nobody]
    return Learnt(caused, fit.error(intensity, log_slopes))


def _beyond_idle(use: Floats, may_vary: npt.NDArray[np.bool_]) -> Floats:
    """Take from what is no job what it does all the time."""
    beyond = use.copy()
    always = np.quantile(use[~may_vary], 0.05, axis=1, keepdims=True)
    beyond[~may_vary] = np.maximum(use[~may_vary] - always, 0.0)
    beyond[beyond < _LEAST_USE] = 0.0
    return beyond


def _phases(use: Floats, busy: Floats, may_vary: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the phase of each account in each tick (accounts, ticks), -1: none; and whose each phase is."""
    begins = [
        change_points(level, _NOISE * max(float(level.max()), 0.3)) if varies else np.array([0, len(level)])
        for level, varies in zip(busy, may_vary, strict=True)
    ]
    if sum(len(b) - 1 for b in begins) > _MOST_UNKNOWNS:
        begins = [np.array([0, use.shape[1]])] * len(use)
    phase = np.full(use.shape, -1, dtype=np.int64)
    owner: list[int] = []
    largest = np.argsort(-use.sum(axis=1), kind="stable")[:_MOST_UNKNOWNS]
    for account in largest.tolist():
        for begin, end in zip(begins[account][:-1], begins[account][1:], strict=True):
            if use[account, begin:end].any():
                phase[account, begin:end] = len(owner)
                owner.append(account)
    return phase, np.array(owner, dtype=np.int64)


class _Fit:
    """The means of stretches, and what is thought of them so far."""

    def __init__(self, course: Course, use: Floats, phase: Ints, owner: Ints) -> None:
        changes = np.flatnonzero((np.diff(phase, axis=1) != 0).any(axis=0)) + 1
        begins = np.concatenate([[0], changes])
        self._curve, self._most = course.curve, course.most
        self._length_s = np.add.reduceat(course.interval_s, begins)

        def mean(values: Floats) -> Floats:
            return np.add.reduceat(values * course.interval_s, begins, axis=-1) / self._length_s

        self._use, self._power_w = mean(use), mean(course.active_w)
        self._phase = phase[:, begins]
        stretch = np.repeat(np.arange(len(begins)), np.diff([*begins, use.shape[1]]))
        apart = (course.active_w - self._power_w[stretch]) ** 2 * course.interval_s
        noise = float(apart.sum()) / max(use.shape[1] - len(begins), 1)
        self._variance = noise / self._length_s + (_MODEL_ERROR * np.maximum(self._power_w, 1.0)) ** 2 + 0.01

        total = self._use.sum(axis=0)
        self._some = np.maximum(total, 1e-9)
        self._pieces = self._curve.power_factors(np.minimum(total, self._most), self._most)
        # Use of each phase in each stretch.
        self._of_phase = np.zeros((len(begins), len(owner)))
        account, place = np.nonzero(self._phase >= 0)
        np.add.at(self._of_phase, (place, self._phase[account, place]), self._use[account, place])

        self.intensity = np.ones(len(owner))
        slopes = self._curve.log_slopes
        drawn, likely = self._power_w * self._length_s, self._pieces @ np.exp(slopes) * self._length_s
        self._prior_log_slopes = slopes + np.log(max(drawn.sum(), 1e-9) / max(likely.sum(), 1e-9))
        self.log_slopes = self._prior_log_slopes.copy()
        self._precision = self._prior(owner, course)
        self._covariance = np.linalg.inv(self._precision)

    @staticmethod
    def _prior(owner: Ints, course: Course) -> Floats:
        """Return the inverse of the covariance of all unknowns before anything was seen."""
        count = len(owner)
        same = owner[:, None] == owner[None, :]
        among = np.where(course.may_vary[owner], course.among_jobs, _OF_OTHERS)
        covariance = np.zeros((count + len(course.curve.ends),) * 2)
        covariance[:count, :count] = same * among**2 + np.eye(count) * course.among_phases**2
        covariance[count:, count:] = course.curve.covariance
        return np.linalg.inv(covariance)

    def improve(self) -> None:
        """Take half a Gauss–Newton step."""
        slopes = np.exp(self.log_slopes)
        curve = self._pieces @ slopes
        mean = self._of_phase @ self.intensity / self._some
        by_intensity = self._of_phase * (curve / self._some)[:, None]
        by_slope = mean[:, None] * self._pieces * slopes
        moved = by_intensity @ (self.intensity - 1.0) + by_slope @ (self.log_slopes - self._prior_log_slopes)
        gradient = np.hstack([by_intensity, by_slope])
        # The floor's error is in all stretches alike: the inverse of a diagonal and a constant
        # (Sherman–Morrison).
        weight = 1.0 / self._variance
        common = _FLOOR_ERROR_W**2 / (1.0 + _FLOOR_ERROR_W**2 * weight.sum())
        weighted = gradient * weight[:, None]
        summed = weighted.sum(axis=0)
        residual = self._power_w - mean * curve + moved
        precision = self._precision + weighted.T @ gradient - common * np.outer(summed, summed)
        right = weighted.T @ residual - common * summed * (weight @ residual)
        self._covariance = np.linalg.inv(precision)
        found = self._covariance @ right
        count = len(self.intensity)
        self.intensity = (self.intensity + np.clip(1.0 + found[:count], _LEAST, _MOST)) / 2
        self.log_slopes = (self.log_slopes + self._prior_log_slopes + np.clip(found[count:], -4.0, 4.0)) / 2

    def error(self, intensity: Floats, log_slopes: Floats) -> Floats:
        """Return the deviation of each account's energy as a part of it, from what is still unknown."""
        unknown = np.concatenate([intensity, log_slopes])
        at = self._energy_j(unknown)
        step = 1e-4
        gradient = np.zeros((len(unknown), len(at)))
        for i in range(len(unknown)):
            other = unknown.copy()
            other[i] += step
            gradient[i] = (self._energy_j(other) - at) / step
        variance = np.einsum("ia,ij,ja->a", gradient, self._covariance, gradient, optimize=True)
        error: Floats = np.sqrt(np.maximum(variance, 0.0)) / np.maximum(at, 1e-9)
        return np.where(at > 0, error, 0.0)

    def _energy_j(self, unknown: Floats) -> Floats:
        """Return each account's part of what was drawn, J (accounts)."""
        count = len(self.intensity)
        intensity = np.where(self._phase >= 0, unknown[:count][self._phase], 1.0)
        caused = fair_w(self._curve, self._most, np.exp(unknown[count:]), self._use, intensity)
        total = caused.sum(axis=0)
        parts = caused / np.where(total > 0, total, 1.0)
        energy: Floats = parts @ (self._power_w * self._length_s)
        return energy
