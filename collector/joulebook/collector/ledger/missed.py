"""Phases that use hardly shows: power changes at a moment, and who is busy does not explain it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.phases import change_points, gain_of_cut, noise2

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Whoever changed has its change within so many ticks of the power's.
_NEAR = 3
# A cut leaves so many ticks on either side.
_LEAST_TICKS = 2
# Who is less likely than the likeliest by more of a logarithm did not change.
_MARGIN = 3.0


def missed_changes(
    course: Course,
    phase: Ints,
    begins: list[Ints],
    explained_w: Floats,
    alone_w: Floats,
    noise_floors: Floats,
) -> list[tuple[int, int]]:
    """Return accounts and ticks at which phases begin that were not seen.

    phase is each account's in each tick, begins where its phases begin. explained_w is what the fit makes of
    each tick's power, alone_w what each account's use draws of it at intensity 1 (accounts, ticks).
    noise_floors are the least noises of accounts' busy threads.

    Each change of what is left unexplained goes to the job that most likely changed then, and to all that are
    about as likely: of which use steps most there, in its own noise, and which need not become another one
    than jobs become to explain it.
    """
    left_w = course.active_w - explained_w
    points = change_points(left_w, 0.0)
    known = np.flatnonzero((np.diff(phase, axis=1) != 0).any(axis=0)) + 1
    found = []
    for before, at, after in zip(
        points[:-2].tolist(), points[1:-1].tolist(), points[2:].tolist(), strict=True
    ):
        if len(known) and np.abs(known - at).min() <= 1:
            continue
        likely = [
            (*told, job)
            for job in np.flatnonzero(course.may_vary & (phase[:, at] >= 0)).tolist()
            if (told := _told(course, job, begins[job], (before, at, after), left_w, alone_w, noise_floors))
        ]
        if likely:
            best = max(likely)[0]
            found += [(job, tick) for told, tick, job in likely if told > best - _MARGIN]
    return found


def _told(
    course: Course,
    job: int,
    begins: Ints,
    around: tuple[int, int, int],
    left_w: Floats,
    alone_w: Floats,
    noise_floors: Floats,
) -> tuple[float, int] | None:
    """Return how likely a job changed about a tick, as a logarithm, and when; None: it cannot be told."""
    before, at, after = around
    place = int(np.searchsorted(begins, at, "right"))
    begin, end = max(int(begins[place - 1]), before), min(int(begins[place]), after)
    if min(at - begin, end - at) < _LEAST_TICKS:
        return None
    busy = course.busy[job, begin:end]
    near = np.arange(max(at - _NEAR, begin + 1), min(at + _NEAR + 1, end)) - begin
    total = np.concatenate([[0.0], np.cumsum(busy)])
    gain = gain_of_cut(total, np.array(0), near, np.array(end - begin))
    gain /= max(noise2(busy), float(noise_floors[job]) ** 2)
    step_w = left_w[at:end].mean() - left_w[begin:at].mean()
    # Two phases' intensities differ by so much of what one draws.
    usual_w = np.sqrt(2.0) * course.among_phases * max(float(alone_w[job, begin:end].mean()), 1e-6)
    likely = float(gain.max()) / 2 - float(step_w / usual_w) ** 2 / 2
    return likely, begin + int(near[gain.argmax()])
