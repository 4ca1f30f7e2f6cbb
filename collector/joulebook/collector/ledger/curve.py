"""What a package draws for so many busy threads of intensity 1: a curve of straight pieces.

g(S) rises by a slope in each piece. φ(S) = g(S)/S is what a thread draws when S are busy, Φ(S) = ∫₀¹ φ(tS) dt
what it draws on average while all come in together. Both are linear in the slopes: functions here return the
factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# Ends of the pieces, as parts of all threads: close together where the first cores wake what all share.
ENDS = np.array([0.06, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0])
_BEGINS = np.concatenate([[0.0], ENDS[:-1]])
# Clocks fall as more cores are busy: power is taken to go with the 0.9th power of use until more is known. A
# core's second thread is taken to add half of what its first does.
_EXPONENT, _SECOND_THREAD = 0.9, 0.5
_LIKELY_SLOPES = (
    (ENDS**_EXPONENT - _BEGINS**_EXPONENT) / (ENDS - _BEGINS) * np.where(_BEGINS < 0.5, 1.0, _SECOND_THREAD)
)
# How far a piece's slope may be from the one before it, in the logarithm, and where second threads begin.
_STEP, _STEP_AT_SECOND_THREADS = 0.2, 0.5
# How high the whole curve is, is not known at all.
_LEVEL = 3.0


def likely_log_slopes() -> Floats:
    """Return the logarithms of slopes that are likely before anything is known, of any height."""
    slopes: Floats = np.log(_LIKELY_SLOPES)
    return slopes


def log_slope_covariance() -> Floats:
    """Return how far logarithms of slopes may be from the likely ones: a walk from piece to piece."""
    step = np.where(_BEGINS == 0.5, _STEP_AT_SECOND_THREADS, _STEP)
    step[0] = 0.0
    walk = np.tril(np.ones((len(ENDS), len(ENDS)))) * step
    covariance: Floats = walk @ walk.T + _LEVEL**2
    return covariance


def power_factors(busy: Floats, threads: int) -> Floats:
    """Return how much of each piece so many busy threads (n) use, (n, pieces): g is their sum by slopes."""
    begin, end = _BEGINS * threads, ENDS * threads
    factors: Floats = np.clip(busy[:, None] - begin, 0.0, end - begin)
    return factors


def shared_factors(busy: Floats, threads: int) -> Floats:
    """Return the factors of Φ at so many busy threads (n), (n, pieces)."""
    begin, end = _BEGINS * threads, ENDS * threads
    some = np.maximum(busy, 1e-9)[:, None]
    upto = np.minimum(some, end)
    # ∫ (s − begin)/s ds within a piece, and its whole length over s beyond it.
    within = upto - begin - begin * np.log(np.maximum(upto / np.maximum(begin, 1e-9), 1.0))
    beyond = (end - begin) * np.log(np.maximum(some / end, 1.0))
    factors: Floats = (np.where(some > begin, within, 0.0) + np.where(some > end, beyond, 0.0)) / some
    return factors
