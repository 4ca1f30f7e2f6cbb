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
from joulebook.collector.ledger.fair import fair_w, split_w
from joulebook.collector.ledger.phases import change_points
from joulebook.collector.ledger.stretches import Stretches

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# What is no job hardly differs from the mean.
_OF_OTHERS = 0.1
# What the model does not know of a stretch's power, as a part of it.
_MODEL_ERROR = 0.015
# Agents learn a floor as the mean of blocks of so many seconds.
_FLOOR_BLOCK_S = 10.0
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

    most is the most use there can be. Phases are told by CPU time, busy (accounts, ticks). held is the part
    of the idle floor that each account pays (accounts, ticks). may_vary says which accounts are jobs.
    Intensities are about 1: how far apart those of jobs are, and of a job's phases.
    """

    curve: Curve
    most: float
    among_jobs: float
    among_phases: float
    interval_s: Floats
    active_w: Floats
    use: Floats
    busy: Floats
    held: Floats
    may_vary: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What each account caused in each tick, W (accounts, ticks), and its error as a part of its sum, 1 σ."""

    caused_w: Floats
    error: Floats


def learn(course: Course) -> Learnt:
    """Fit and split. What idle machines do all the time is in the floor: it counts only beyond that."""
    use, always = _beyond_idle(course.use, course.may_vary)
    phase, owner = _phases(use, course.busy, course.may_vary)
    if not len(owner) or not (course.active_w > 0).any():
        return Learnt(course.use.copy(), np.zeros(len(use)))
    seen = Stretches(course.interval_s, course.active_w, use, phase)
    fit = Fit(seen, course, owner, always)
    for _ in range(_ROUNDS):
        fit.improve()
    # Rounded, so that another machine's last bits give the same split.
    intensity, log_slopes = np.round(fit.intensity, 3), np.round(fit.log_slopes, 3)
    by_tick = np.where(phase >= 0, intensity[phase], 1.0)
    caused = fair_w(course.curve, course.most, np.exp(log_slopes), use, by_tick)
    nobody = caused.sum(axis=0) <= 0
    caused[:, nobody] = course.use[:, nobody]
    return Learnt(caused, fit.error(intensity, log_slopes))


def _beyond_idle(use: Floats, may_vary: npt.NDArray[np.bool_]) -> tuple[Floats, float]:
    """Take from what is no job what it does all the time; return how much that is, too."""
    beyond = use.copy()
    always = np.quantile(use[~may_vary], 0.05, axis=1, keepdims=True)
    beyond[~may_vary] = np.maximum(use[~may_vary] - always, 0.0)
    beyond[beyond < _LEAST_USE] = 0.0
    return beyond, float(always.sum())


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


class Fit:
    """What is thought so far of a part's intensities and curve."""

    def __init__(self, seen: Stretches, course: Course, owner: Ints, always: float) -> None:
        self._held_s = course.held @ course.interval_s
        self._seen = seen
        count, pieces = len(owner), len(course.curve.ends)
        total = seen.use.sum(axis=0)
        within = np.minimum(total, course.most)
        self._some = np.maximum(total, 1e-9)
        self._pieces = course.curve.power_factors(within, course.most)
        self._next = course.curve.next_factors(within, course.most)
        self._shared = course.curve.shared_factors(within, course.most)
        # Use of each phase in each stretch.
        self._of_phase = np.zeros((seen.count, count))
        account, place = np.nonzero(seen.phase >= 0)
        np.add.at(self._of_phase, (place, seen.phase[account, place]), seen.use[account, place])
        # Of those that move: their use, and where their intensities are among all unknowns.
        stretch = np.arange(seen.count)[:, None]
        moves = seen.moving >= 0
        self._moving_use = np.where(moves, seen.use[seen.moving, stretch], 0.0)
        self._moving_phase = np.where(moves, seen.phase[seen.moving, stretch], count + pieces)
        slopes = np.broadcast_to(np.arange(count, count + pieces), (seen.count, pieces))
        self._unknown = np.hstack([self._moving_phase, slopes])

        self.intensity = np.ones(count)
        drawn = seen.power_w * seen.length_s
        likely = self._pieces @ np.exp(course.curve.log_slopes) * seen.length_s
        self._prior_log_slopes = course.curve.log_slopes + np.log(
            max(drawn.sum(), 1e-9) / max(likely.sum(), 1e-9)
        )
        self.log_slopes = self._prior_log_slopes.copy()
        self._precision = self._prior(owner, course)
        self._covariance = np.linalg.inv(self._precision)
        self._noise = float(seen.power_moves.sum()) / seen.free
        self._always = always

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
        gradient = np.hstack([by_intensity, by_slope])
        at = np.concatenate([self.intensity - 1.0, self.log_slopes - self._prior_log_slopes])
        # The floor's error is in all stretches alike: the inverse of a diagonal and a constant
        # (Sherman–Morrison).
        weight = 1.0 / self._variance()
        common = 1.0 / (1.0 / self._floor_variance() + weight.sum())
        weighted = gradient * weight[:, None]
        summed = weighted.sum(axis=0)
        residual = self._seen.power_w - mean * curve + gradient @ at
        precision = self._precision + weighted.T @ gradient - common * np.outer(summed, summed)
        right = weighted.T @ residual - common * summed * (weight @ residual)
        of_moves, right_of_moves = self._of_moves(slopes, curve, mean, at)
        self._covariance = np.linalg.inv(precision + of_moves)
        found = self._covariance @ (right + right_of_moves)
        count = len(self.intensity)
        self.intensity = (self.intensity + np.clip(1.0 + found[:count], _LEAST, _MOST)) / 2
        self.log_slopes = (self.log_slopes + self._prior_log_slopes + np.clip(found[count:], -4.0, 4.0)) / 2
        self._gradient = gradient

    def _variance(self) -> Floats:
        """Return the variance of each stretch's mean power, W²."""
        seen = self._seen
        of_model: Floats = (_MODEL_ERROR * np.maximum(seen.power_w, 1.0)) ** 2
        return self._noise / seen.length_s + of_model + 0.01

    def _floor_variance(self) -> float:
        """Return the variance of the idle floor, W²: a block's noise, and what is always busy draws alone."""
        slopes = np.exp(self.log_slopes)
        curve = self._pieces @ slopes * self._seen.length_s
        mean = float(curve @ (self._of_phase @ self.intensity / self._some)) / max(float(curve.sum()), 1e-9)
        always_w = self._always * mean * float(slopes[0])
        return self._noise / _FLOOR_BLOCK_S + always_w**2 + 1e-4

    def _of_moves(self, slopes: Floats, curve: Floats, mean: Floats, at: Floats) -> tuple[Floats, Floats]:
        """Return what moves within stretches tell: precision of all unknowns, and its right side.

        Where account j uses a little more, power rises by (w_j − w̄) φ + w̄ g′.
        """
        seen, size = self._seen, len(at)
        places = seen.moving.shape[1]
        alone, following = curve / self._some, self._next @ slopes
        intensity = np.append(self.intensity, np.zeros(size + 1 - len(self.intensity)))[self._moving_phase]
        apart = intensity - mean[:, None]
        rise = apart * alone[:, None] + (mean * following)[:, None]
        unexplained = seen.moves_with_power - np.einsum("kab,kb->ka", seen.moves, rise)
        left = seen.power_moves - np.einsum("ka,ka->k", rise, seen.moves_with_power + unexplained)
        self._noise = max(float(left.sum()) / seen.free, 1e-6)

        by = np.zeros((seen.count, places, places + len(slopes)))
        by[:, :, :places] = (self._moving_use * ((following - alone) / self._some)[:, None])[:, None, :]
        by[:, range(places), range(places)] += alone[:, None]
        by[:, :, places:] = (
            apart[:, :, None] * (self._pieces / self._some[:, None])[:, None, :]
            + mean[:, None, None] * self._next[:, None, :]
        ) * slopes
        own = np.append(at, 0.0)[self._unknown]
        weighted = np.einsum("kau,kab->kub", by, seen.moves) / self._noise
        local = weighted @ by
        right = np.einsum("kau,ka->ku", by, unexplained) / self._noise + np.einsum("kuv,kv->ku", local, own)
        place = self._unknown[:, :, None] * (size + 1) + self._unknown[:, None, :]
        precision = np.bincount(place.ravel(), local.ravel(), (size + 1) ** 2).reshape(size + 1, size + 1)
        rights = np.bincount(self._unknown.ravel(), right.ravel(), size + 1)
        return precision[:size, :size].astype(np.float64), rights[:size].astype(np.float64)

    def error(self, intensity: Floats, log_slopes: Floats) -> Floats:
        """Return the deviation of each account's energy as a part of it.

        What is still unknown of intensities and curve moves the shares. Power that moves though nobody does
        anything else, and the floor's error, are in the energy that is shared and in what was learnt from it.
        """
        seen = self._seen
        unknown = np.concatenate([intensity, log_slopes])
        energy_j = self._energies_j(unknown)
        at = energy_j.sum(axis=1)
        step = 1e-4
        of_unknown = np.zeros((len(unknown), len(at)))
        for i in range(len(unknown)):
            other = unknown.copy()
            other[i] += step
            of_unknown[i] = (self._energies_j(other).sum(axis=1) - at) / step
        # By each stretch's mean power, J/W (stretches, accounts).
        of_power = (energy_j / np.maximum(seen.power_w, 1e-9)).T
        noise = self._noise / seen.length_s
        weight = 1.0 / self._variance()
        # How found unknowns follow each stretch's power, (unknowns, stretches).
        gain = self._covariance @ (self._gradient * weight[:, None]).T
        floor_w = np.sqrt(self._floor_variance())
        common = 1.0 / (1.0 / floor_w**2 + weight.sum())
        gain -= common * np.outer(gain.sum(axis=1), weight)
        # Σ over stretches of noise that all share, and of each one's own.
        # What the floor is too low by is booked as caused and not as held.
        floor = floor_w * (of_power.sum(axis=0) - self._held_s)
        own = np.sqrt(noise)[:, None] * of_power
        together = gain @ (noise[:, None] * of_power) + np.outer(gain.sum(axis=1) * floor_w, floor)
        variance = (
            np.einsum("ia,ij,ja->a", of_unknown, self._covariance, of_unknown, optimize=True)
            + 2 * (of_unknown * together).sum(axis=0)
            + floor**2
            + (own**2).sum(axis=0)
        )
        error: Floats = np.sqrt(np.maximum(variance, 0.0)) / np.maximum(at, 1e-9)
        return np.where(at > 0, error, 0.0)

    def _energies_j(self, unknown: Floats) -> Floats:
        """Return each account's part of what was drawn in each stretch, J (accounts, stretches)."""
        seen, count = self._seen, len(self.intensity)
        intensity = np.where(seen.phase >= 0, unknown[:count][seen.phase], 1.0)
        slopes = np.exp(unknown[count:])
        caused = split_w(self._pieces @ slopes, self._shared @ slopes, seen.use, intensity)
        total = caused.sum(axis=0)
        parts = caused / np.where(total > 0, total, 1.0)
        energy: Floats = parts * (seen.power_w * seen.length_s)
        return energy
