"""What a part of a machine draws for so much use of intensity 1: a curve of straight pieces.

g(S) rises by a slope in each piece. φ(S) = g(S)/S is what a unit of use draws when S are in use,
Φ(S) = ∫₀¹ φ(tS) dt what it draws on average while all come in together. Both are linear in the slopes:
methods here return the factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# How high a whole curve is, is not known at all.
_LEVEL = 3.0
# A package's power goes with such a power of busy threads; how far that may be off, mostly, since it is of
# Student's distribution with so many degrees of freedom, which has long tails.
_POWER, _POWER_OFF, _DEGREES = 0.9, 0.1, 2.0
_ROUNDS = 4
# How far the logarithm of each piece's slope may be from what that says, beside the piece before.
_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Curve:
    """A kind of curve: where its pieces end, as parts of the most use there can be, and what is likely of it.

    slopes are likely ones, of any height. steps are how far the logarithm of a piece's slope may be from the
    one before it, each for itself; the first is 0. bends are how far all of them may be together.
    """

    ends: tuple[float, ...]
    slopes: tuple[float, ...]
    steps: tuple[float, ...]
    bends: tuple[float, ...]

    @property
    def log_slopes(self) -> Floats:
        """Return the logarithms of the likely slopes."""
        log_slopes: Floats = np.log(np.array(self.slopes))
        return log_slopes

    def covariance(self, apart: Floats) -> Floats:
        """Return how far logarithms of slopes may be from likely ones: a walk by pieces, and a bend.

        apart is how far they are thought to be: a bend that shows is not held to be one that cannot be.
        """
        walk = np.tril(np.ones((len(self.ends),) * 2)) * np.array(self.steps)
        along, level = np.array(self.bends), walk @ walk.T + _LEVEL**2
        bend = np.outer(along, along)
        scale = 1.0
        for _ in range(_ROUNDS if along.any() else 0):
            deviations = scale * float(along @ np.linalg.solve(level + scale * bend, apart))
            scale = (_DEGREES + deviations**2) / (_DEGREES + 1)
        covariance: Floats = level + scale * bend
        return covariance

    def power_factors(self, use: Floats, most: float) -> Floats:
        """Return how much of each piece so much use (n) takes, (n, pieces): g is their sum by slopes."""
        begin, end = self._pieces(most)
        factors: Floats = np.clip(use[:, None] - begin, 0.0, end - begin)
        return factors

    def alone_w(self, use: Floats, most: float, slopes: Floats) -> Floats:
        """Return what each account's use draws at intensity 1, W; use is (accounts, n), so is the result."""
        total = use.sum(axis=0)
        drawn = self.power_factors(np.minimum(total, most), most) @ slopes
        alone: Floats = use * (drawn / np.maximum(total, 1e-9))
        return alone

    def next_factors(self, use: Floats, most: float) -> Floats:
        """Return in which piece the next bit of use falls at so much use (n), (n, pieces): factors of g′."""
        begin, end = self._pieces(most)
        some = use[:, None]
        factors: Floats = ((some >= begin) & ((some < end) | (end >= most))).astype(np.float64)
        return factors

    def shared_factors(self, use: Floats, most: float) -> Floats:
        """Return the factors of Φ at so much use (n), (n, pieces)."""
        begin, end = self._pieces(most)
        some = np.maximum(use, 1e-9)[:, None]
        upto = np.minimum(some, end)
        # ∫ (s − begin)/s ds within a piece, and its whole length over s beyond it.
        within = upto - begin - begin * np.log(np.maximum(upto / np.maximum(begin, 1e-9), 1.0))
        beyond = (end - begin) * np.log(np.maximum(some / end, 1.0))
        factors: Floats = (np.where(some > begin, within, 0.0) + np.where(some > end, beyond, 0.0)) / some
        return factors

    def _pieces(self, most: float) -> tuple[Floats, Floats]:
        ends = np.array(self.ends) * most
        return np.concatenate([[0.0], ends[:-1]]), ends


def _of_threads() -> Curve:
    """Return the curve of a CPU package by busy threads.

    Clocks fall as more cores are busy: power is taken to go with the 0.9th power of use until more is known.
    A core's second thread is taken to add half of what its first does. Pieces are close together where the
    first cores wake what all share, and where what is always busy is.
    """
    ends = np.array([0.004, 0.02, 0.06, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0])
    begins = np.concatenate([[0.0], ends[:-1]])

    def rise(power: float) -> Floats:
        slopes: Floats = (ends**power - begins**power) / (ends - begins)
        return slopes

    slopes = rise(_POWER) * np.where(begins >= 0.5, 0.5, 1.0)
    steps = np.where(begins == 0.5, 0.5, np.where(begins > 0, _STEP, 0.0))
    bends = np.log(rise(_POWER + _POWER_OFF) / rise(_POWER - _POWER_OFF)) / 2
    return Curve(*(tuple(values.tolist()) for values in (ends, slopes, steps, bends - bends[0])))


THREADS = _of_threads()
# Memory draws in proportion.
STRAIGHT = Curve((1.0,), (1.0,), (0.0,), (0.0,))
