"""The fit of a part's curve and of all intensities on it, to what its power did.

Gauss–Newton on normal priors, on the means of stretches in which no job changes and on how use and power move
within them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.fair import parts_w
from joulebook.collector.ledger.stretches import Stretches

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# What is no job hardly differs from the mean.
_OF_OTHERS = 0.1
# What the model does not know of a stretch's power, as a part of it.
_MODEL_ERROR = 0.007
# Agents learn a floor as the mean of blocks of so many seconds.
_FLOOR_BLOCK_S = 10.0
_LEAST, _MOST = 0.002, 6.0


class Fit:
    """What is thought so far of a part's intensities and curve."""

    def __init__(self, seen: Stretches, course: Course, owner: Ints, always: Floats) -> None:
        self._by_factors = course.by_factors
        self._curve = course.curve
        self._rounding = course.use_step**2 / 12
        self._held = np.add.reduceat(course.held * course.interval_s, seen.begins, axis=1)
        self._seen = seen
        self._always = always
        count, pieces = len(owner), len(course.curve.ends)
        # What draws all the time is in the floor: power is what was drawn beyond it.
        self._in_floor = course.curve.power_factors(always.sum(keepdims=True), course.most)[0]
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
        self._moving_phase = np.where(moves, seen.phase[seen.moving, stretch], count + pieces + 1)
        slopes = np.broadcast_to(np.arange(count, count + pieces), (seen.count, pieces))
        # And the floor's error, which moves with nothing, comes last.
        self.floor_w = 0.0
        self._unknown = np.hstack([self._moving_phase, slopes])

        self.intensity = np.ones(count)
        drawn = seen.power_w * seen.length_s
        likely = (self._pieces - self._in_floor) @ np.exp(course.curve.log_slopes) * seen.length_s
        self._prior_log_slopes = course.curve.log_slopes + np.log(
            max(drawn.sum(), 1e-9) / max(likely.sum(), 1e-9)
        )
        self.log_slopes = self._prior_log_slopes.copy()
        self._precision = self._prior(owner, course)
        self._noise = float(seen.power_moves.sum()) / seen.free

    @staticmethod
    def _prior(owner: Ints, course: Course) -> Floats:
        """Return the inverse of intensities' covariance before anything was seen, with room for the rest."""
        count = len(owner)
        same = owner[:, None] == owner[None, :]
        among = np.where(course.may_vary[owner], course.among_jobs, _OF_OTHERS)
        precision = np.eye(count + len(course.curve.ends) + 1)
        covariance = same * among**2 + np.eye(count) * course.among_phases**2
        precision[:count, :count] = np.linalg.inv(covariance)
        return precision

    def improve(self) -> None:
        """Take half a Gauss–Newton step."""
        slopes = np.exp(self.log_slopes)
        curve = self._pieces @ slopes
        mean = self._of_phase @ self.intensity / self._some
        by_intensity = self._of_phase * (curve / self._some)[:, None] * self._growth()
        by_slope = (mean[:, None] * self._pieces - self._in_floor) * slopes
        # The floor's error is in all stretches alike.
        gradient = np.hstack([by_intensity, by_slope, np.ones((len(curve), 1))])
        bent = self.log_slopes - self._prior_log_slopes
        at = np.concatenate([self._apart(), bent, [self.floor_w]])
        explained_w = mean * curve - float(self._in_floor @ slopes) + self.floor_w
        residual = self._seen.power_w - explained_w + gradient @ at
        weighted = gradient / self._variance()[:, None]
        self._precision[-1, -1] = 1.0 / self._floor_variance()
        of_curve = slice(len(self.intensity), -1)
        self._precision[of_curve, of_curve] = np.linalg.inv(self._curve.covariance(bent))
        precision = self._precision + weighted.T @ gradient
        right = weighted.T @ residual
        of_moves, right_of_moves = self._of_moves(slopes, curve, mean, at)
        self._covariance = np.linalg.inv(precision + of_moves)
        found = self._covariance @ (right + right_of_moves)
        count = len(self.intensity)
        if self._by_factors:
            apart = np.clip(found[:count], np.log(_LEAST), np.log(_MOST))
            self.intensity = np.exp((self._apart() + apart) / 2)
        else:
            self.intensity = (self.intensity + np.clip(1.0 + found[:count], _LEAST, _MOST)) / 2
        self.log_slopes = (self.log_slopes + self._prior_log_slopes + np.clip(found[count:-1], -4.0, 4.0)) / 2
        self.floor_w = (self.floor_w + float(found[-1])) / 2
        self._gradient = gradient

    def _apart(self) -> Floats:
        """Return how far intensities are from 1, as what is normal of them."""
        return np.log(self.intensity) if self._by_factors else self.intensity - 1.0

    def _growth(self) -> Floats:
        """Return how intensities grow with that."""
        return self.intensity if self._by_factors else np.ones(len(self.intensity))

    def _variance(self) -> Floats:
        """Return the variance of each stretch's mean power, W²."""
        seen = self._seen
        of_model: Floats = (_MODEL_ERROR * np.maximum(seen.power_w, 1.0)) ** 2
        return self._noise / seen.length_s + of_model + self._rounding_variance() + 0.01

    def _rounding_variance(self) -> Floats:
        """Return the variance of what is explained of each stretch as use is rounded, W².

        It does not fall with a stretch's length: a job that does the same again and again is rounded alike.
        """
        if not self._rounding:
            return np.zeros(self._seen.count)
        alone_w = (self._pieces @ np.exp(self.log_slopes)) / self._some
        drawn: Floats = (np.where(self._of_phase > 0, self.intensity, 0.0) ** 2).sum(axis=1) * alone_w**2
        return self._rounding * drawn

    def _floor_variance(self) -> float:
        """Return the variance of the idle floor, W²: a block's noise, of a machine that is idle."""
        return min(self._seen.idle_noise, self._noise) / _FLOOR_BLOCK_S + 1e-4

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
        growth = np.append(self._growth(), np.zeros(size + 1 - len(self.intensity)))
        by[:, :, :places] *= growth[self._moving_phase][:, None, :]
        by[:, :, places:] = (
            apart[:, :, None] * (self._pieces / self._some[:, None])[:, None, :]
            + mean[:, None, None] * self._next[:, None, :]
        ) * slopes
        own = np.append(at, 0.0)[self._unknown]
        noise = self._noise + self._rounding_variance() * seen.length_s
        weighted = np.einsum("kau,kab->kub", by, seen.moves) / noise[:, None, None]
        local = weighted @ by
        right = np.einsum("kau,ka->ku", by, unexplained) / noise[:, None] + np.einsum(
            "kuv,kv->ku", local, own
        )
        place = self._unknown[:, :, None] * (size + 1) + self._unknown[:, None, :]
        precision = np.bincount(place.ravel(), local.ravel(), (size + 1) ** 2).reshape(size + 1, size + 1)
        rights = np.bincount(self._unknown.ravel(), right.ravel(), size + 1)
        return precision[:size, :size].astype(np.float64), rights[:size].astype(np.float64)

    def error(self, intensity: Floats, log_slopes: Floats, floor_w: float) -> Floats:
        """Return the deviation of each account's energy as a part of what it caused.

        What is still unknown of intensities, curve and floor moves the shares, and what of the floor is
        shared as caused and not as held. Power that moves though nobody does anything else is in the energy
        that is shared and in what was learnt from it.
        """
        seen = self._seen
        unknown = np.concatenate([intensity, log_slopes, [floor_w]])
        parts, moved_w = self._parts(unknown)
        at = self._booked_j(unknown)
        step = 1e-4
        of_unknown = np.zeros((len(unknown), len(at)))
        for i in range(len(unknown)):
            other = unknown.copy()
            other[i] += step * (other[i] if self._by_factors and i < len(intensity) else 1.0)
            of_unknown[i] = (self._booked_j(other) - at) / step
        noise = self._noise / seen.length_s
        # Each stretch's own noise, J (stretches, accounts), and how found unknowns follow it.
        own = np.sqrt(noise)[:, None] * (parts * seen.length_s).T
        gain = self._covariance @ (self._gradient / self._variance()[:, None]).T
        together = gain @ (np.sqrt(noise)[:, None] * own)
        variance = (
            np.einsum("ia,ij,ja->a", of_unknown, self._covariance, of_unknown, optimize=True)
            + 2 * (of_unknown * together).sum(axis=0)
            + (own**2).sum(axis=0)
        )
        caused_j = parts @ (np.maximum(seen.booked_w + moved_w, 0.0) * seen.length_s)
        error: Floats = np.sqrt(np.maximum(variance, 0.0)) / np.maximum(caused_j, 1e-9)
        return np.where(caused_j > 0, error, 0.0)

    def _booked_j(self, unknown: Floats) -> Floats:
        """Return how much more each account is booked than its part of the floor as the agent has it, J."""
        parts, moved_w = self._parts(unknown)
        caused_j = parts * (self._seen.power_w + moved_w) * self._seen.length_s
        energy_j: Floats = (caused_j - self._held * moved_w).sum(axis=1)
        return energy_j

    def _parts(self, unknown: Floats) -> tuple[Floats, Floats]:
        """Return each account's part of what is caused in each stretch (accounts, stretches).

        And what of that is in the floor as the agent has it, W (stretches).
        """
        seen, count = self._seen, len(self.intensity)
        intensity = np.where(seen.phase >= 0, unknown[:count][seen.phase], 1.0)
        slopes = np.exp(unknown[count:-1])
        caused, in_floor_w = parts_w(
            self._pieces @ slopes,
            self._shared @ slopes,
            float(self._in_floor @ slopes),
            seen.use,
            self._always,
            intensity,
        )
        total = caused.sum(axis=0)
        parts: Floats = caused / np.where(total > 0, total, 1.0)
        return parts, np.maximum(in_floor_w - unknown[-1], -seen.power_w)
