"""Phases: stretches in which a job uses about as much as a moment ago."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# The median of |a − b| of two draws from a normal distribution is this times its deviation.
_MEDIAN_STEP = 0.954
# A change counts where it explains more than three times what chance would give in so many places.
_PENALTY = 3.0


def change_points(level: Floats, noise_floor: float) -> Ints:
    """Return where phases begin in a series of levels (ticks): 0, changes in order, and the number of ticks.

    Binary segmentation of a piecewise constant mean; what a later cut makes needless is taken back. The noise
    is that of single steps, at least noise_floor.
    """
    ticks = len(level)
    steps = np.abs(np.diff(level))
    noise = max(float(np.median(steps)) / _MEDIAN_STEP if ticks > 1 else 0.0, noise_floor)
    least = _PENALTY * np.log(max(ticks, 2)) * noise**2
    total = np.concatenate([[0.0], np.cumsum(level)])
    found, open_ = [0, ticks], [(0, ticks)]
    while open_:
        begin, end = open_.pop()
        if end - begin < 2:
            continue
        at = np.arange(begin + 1, end)
        gain = _gain(total, np.array(begin), at, np.array(end))
        best = int(gain.argmax())
        if gain[best] > least:
            found.append(int(at[best]))
            open_ += [(begin, found[-1]), (found[-1], end)]
    points = np.array(sorted(found), dtype=np.int64)
    while len(points) > 2:
        gain = _gain(total, points[:-2], points[1:-1], points[2:])
        worst = int(gain.argmin())
        if gain[worst] > least:
            break
        points = np.delete(points, worst + 1)
    return points


def _gain(total: Floats, begin: Ints, at: Ints, end: Ints) -> Floats:
    """Return by how much squares fall when [begin, end) is cut, given the sums of levels up to each tick."""
    left, right = at - begin, end - at
    apart = (total[at] - total[begin]) / left - (total[end] - total[at]) / right
    gain: Floats = apart**2 * left * right / (end - begin)
    return gain
