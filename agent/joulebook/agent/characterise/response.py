"""What a sensor's readings under a square wave say of it: update period, averaging window, lag.

A gauge that shows every T the mean over the W before, late by L, answers a step with the impulse response of
a box of W, a box of T (as long as nobody knows when between two updates the step falls) and a delay L. Its
mean is L + W/2 + T/2 and its variance (W² + T²)/12, so the moments of the measured response give W and L
where T is known. A counter's energy between two updates is spread evenly over that time: its response lies
around L.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median

# Powers are made of whole µJ: what differs by less is the same.
_SAME_MW, _SAME_SHARE = 3.0, 2e-5
# A response below this, of the level and at all, is noise.
_LEAST_SHARE = 0.03
_LEAST_MW = 1_000
# Gaps of so many times a usual short one are one period; updates that changed nothing leave longer ones.
_ONE_PERIOD = (0.6, 1.4)
_FEWEST_GAPS = 5


@dataclass(frozen=True, slots=True)
class Course:
    """Readings of a domain's energy, and when they were taken; more often than the sensor changes."""

    times_us: Sequence[int]
    energy_uj: Sequence[int]

    @property
    def step_us(self) -> int:
        """Return the usual time between two readings: nothing shorter can be told."""
        return round(median(b - a for a, b in pairwise(self.times_us)))

    def power_mw(self) -> list[float]:
        """Return the mean power between each reading and the one before."""
        rows = zip(pairwise(self.times_us), pairwise(self.energy_uj), strict=True)
        return [(e1 - e0) * 1000 / max(t1 - t0, 1) for (t0, t1), (e0, e1) in rows]

    def begun(self) -> Course:
        """Return a gauge's from where it shows something on: before, its first answer was still to come."""
        first = next((i for i, (a, b) in enumerate(pairwise(self.energy_uj), start=1) if a != b), 0)
        return Course(self.times_us[first:], self.energy_uj[first:])

    def moves(self) -> Course:
        """Return only those readings at which a counter had moved."""
        kept = [0, *(i for i, (a, b) in enumerate(pairwise(self.energy_uj), start=1) if a != b)]
        return Course([self.times_us[i] for i in kept], [self.energy_uj[i] for i in kept])


@dataclass(frozen=True, slots=True)
class Response:
    """How a sensor followed the load: by how much, and how late; window and lag in µs."""

    rise_mw: int
    window_us: int
    lag_us: int


def changes_us(course: Course, *, is_counter: bool) -> list[int]:
    """Return when a sensor took a new value."""
    if is_counter:
        return list(course.moves().times_us[1:])
    return _changes(course.times_us[1:], course.power_mw())


def update_period_us(course: Course, *, is_counter: bool) -> int | None:
    """Return how often a sensor takes a new value; None: it changed too seldom to tell.

    As much as the course's own step means: at least as often as it was read.
    """
    gaps = sorted(b - a for a, b in pairwise(changes_us(course, is_counter=is_counter)))
    if len(gaps) < _FEWEST_GAPS:
        return None
    short_us = gaps[len(gaps) // 4]
    low, high = (share * short_us for share in _ONE_PERIOD)
    return round(fmean(gap for gap in gaps if low <= gap <= high))


def response(
    course: Course, rises_us: Sequence[int], falls_us: Sequence[int], period_us: int, *, is_counter: bool
) -> Response | None:
    """Return how a sensor of a known update period follows a load; None: it does not.

    rises_us and falls_us are when the load went up and down, at uneven times.
    """
    step_us = course.step_us
    edges = sorted([*((t, 1) for t in rises_us), *((t, -1) for t in falls_us)])
    half_us = min(b - a for (a, _), (b, _) in pairwise(edges))
    if is_counter:
        course = course.moves()
    power_mw = course.power_mw()
    begin_us = -period_us if is_counter else 0
    offsets = [begin_us + (number + 0.5) * step_us for number in range(half_us // step_us)]
    first_us, last_us = course.times_us[0], course.times_us[-1]
    whole = [(t, sign) for t, sign in edges if first_us <= t + begin_us and t + half_us <= last_us]
    if not whole or len(offsets) < _FEWEST_GAPS:
        return None
    base_mw = fmean(power_mw)
    mean = [
        fmean(sign * (power_mw[bisect_right(course.times_us, t + offset) - 1] - base_mw) for t, sign in whole)
        for offset in offsets
    ]
    # The last fifth is the level that the load leads to; mirrored, the level before the edge.
    level_mw = fmean(mean[-max(1, len(mean) // 5) :])
    if 2 * level_mw < max(_LEAST_MW, _LEAST_SHARE * base_mw):
        return None
    # What is still missing of the step; its moments are those of the response.
    left = [(level_mw - value) / (2 * level_mw) for value in mean]
    mean_us = begin_us + sum(left) * step_us
    if is_counter:
        return Response(round(2 * level_mw), 0, max(0, round(mean_us)))
    square = 2 * sum(rest * offset for rest, offset in zip(left, offsets, strict=True)) * step_us
    window_us = sqrt(max(0.0, 12 * (square - mean_us**2) - period_us**2))
    lag_us = mean_us - window_us / 2 - period_us / 2
    return Response(round(2 * level_mw), round(window_us), max(0, round(lag_us)))


def _changes(times_us: Sequence[int], power_mw: Sequence[float]) -> list[int]:
    """Return when a power changed: a change between two readings shows in both figures that it is in."""
    changes: list[int] = []
    was_changing = False
    for at_us, (before, now) in zip(times_us[1:], pairwise(power_mw), strict=True):
        is_changing = abs(now - before) > _SAME_MW + _SAME_SHARE * abs(before)
        if is_changing and not was_changing:
            changes.append(at_us)
        was_changing = is_changing and not was_changing
    return changes
