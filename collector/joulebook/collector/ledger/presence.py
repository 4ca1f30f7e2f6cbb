"""How long jobs were there in the intervals in which they began and ended.

A tick at a job's edge makes its intervals its life. Without one it is known in the whole of its first and
last intervals: how much of these it lived is told by what it used there, beside how busy it was otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# An interval as long as this part of the usual one ended with a tick as any other, not at an edge.
_USUAL = 0.9
# So many intervals beside one tell how busy a job was.
_BESIDE = 5
# The deviation of the part of an interval that a job lived: as told by its use, and untold.
_TOLD, _UNTOLD = 0.1, 0.29


@dataclass(frozen=True, slots=True)
class Presence:
    """The part of each tick that each account was there for, and that part's deviation, (accounts, ticks)."""

    part: Floats
    deviation: Floats


def presence_of(interval_us: Ints, known: npt.NDArray[np.bool_], busy: Floats, held: Floats) -> Presence:
    """Tell it for every tick of a stretch.

    known says whether the tick's Report knows the account; busy and held are CPUs; all are (accounts, ticks).
    What was there at the stretch's ends neither began nor ended there as far as is known.
    """
    ticks = len(interval_us)
    part, deviation = np.ones(known.shape), np.zeros(known.shape)
    usual = interval_us >= _USUAL * float(np.median(interval_us))
    for account, begin, end in _lives(known):
        used, has = busy[account], np.maximum(held[account], 1e-9)
        for edge, at, beside in (
            (begin, begin, slice(begin + 1, min(begin + 1 + _BESIDE, end - 1))),
            (end, end - 1, slice(max(end - 1 - _BESIDE, begin + 1), end - 1)),
        ):
            if edge in (0, ticks) or not usual[at]:
                continue
            # Nobody uses more than it holds, so it lived for as much at least.
            lived = used[at] / has[at]
            told = end - begin > 2 and used[beside].mean() > 0
            if told:
                lived = max(lived, used[at] / used[beside].mean())
            part[account, at] = min(lived, 1.0)
            deviation[account, at] = _TOLD if told else _UNTOLD
    return Presence(part, deviation)


def _lives(known: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Give each account's unbroken spans of ticks: the account, where it begins, and where it ends."""
    steps = np.diff(np.pad(known.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    accounts, begins = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    yield from zip(accounts.tolist(), begins.tolist(), ends.tolist(), strict=True)
