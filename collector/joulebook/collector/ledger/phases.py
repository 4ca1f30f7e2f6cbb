"""Phases: stretches in which a job uses about as much as a moment ago."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Of |a − b| of two draws from a normal distribution, 80 % are below this times its deviation. A job that is
# mostly as busy as can be hardly moves by the median, and changes are rarer than one step in five.
_MOST_STEPS, _STEP = 0.8, 1.812
# A change counts where it explains more than three times what chance would give in so many places.
_PENALTY = 3.0


def change_points(level: Floats, noise_floor: float) -> Ints:
    """Return where phases begin in a series of levels (ticks): 0, changes in order, and the number of ticks.

    Binary segmentation of a piecewise constant mean; what a later cut makes needless is taken back. The noise
    is what steps tell of it, at least noise_floor.
    """
    ticks = len(level)
    least = _PENALTY * np.log(max(ticks, 2)) * max(noise2(level), noise_floor**2)
    total = np.concatenate([[0.0], np.cumsum(level)])
    found, open_ = [0, ticks], [(0, ticks)]
    while open_:
        begin, end = open_.pop()
        if end - begin < 2:
            continue
        at = np.arange(begin + 1, end)
        gain = gain_of_cut(total, np.array(begin), at, np.array(end))
        best = int(gain.argmax())
        if gain[best] > least:
            found.append(int(at[best]))
            open_ += [(begin, found[-1]), (found[-1], end)]
    points = np.array(sorted(found), dtype=np.int64)
    while len(points) > 2:
        gain = gain_of_cut(total, points[:-2], points[1:-1], points[2:])
        worst = int(gain.argmin())
        if gain[worst] > least:
            break
        points = np.delete(points, worst + 1)
    return points


def noise2(level: Floats) -> float:
    """Return the variance of a mean of levels, times its ticks, were there no change.

    What moves in less time than a tick, but not with ticks, is in two of them, so that neighbours are alike.
    With covariances γ0, γ1 steps of one tick have a variance of 2 (γ0 − γ1), those of two ticks 2 γ0, and a
    mean has γ0 + 2 γ1.
    """
    one, two = (
        float(np.quantile(np.abs(level[lag:] - level[:-lag]), _MOST_STEPS)) / _STEP
        if len(level) > lag
        else 0.0
        for lag in (1, 2)
    )
    return max(one**2, 3 * two**2 - 2 * one**2)


def gain_of_cut(total: Floats, begin: Ints, at: Ints, end: Ints) -> Floats:
    """Return by how much squares fall when [begin, end) is cut, given the sums of levels up to each tick."""
    left, right = at - begin, end - at
    apart = (total[at] - total[begin]) / left - (total[end] - total[at]) / right
    gain: Floats = apart**2 * left * right / (end - begin)
    return gain
