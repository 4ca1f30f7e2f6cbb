"""Meters beside each other: of the same domain, of a container and its parts, of parts of a kind.

All figures are mean powers of one window; whoever asks keeps the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.agent.meters.health import WHOLLY_OFF_PPM
from joulebook.agent.source import Domain
from joulebook.v1.containment import DETAILS, parents_of

# Below this, differences are steps and lag.
_LEAST_MW = 2_000
# So many windows in a row at the very same power are not a quiet load: nothing draws so evenly.
STUCK_WINDOWS = 5
_STILL_PPM = 500
# What another must have moved meanwhile: of its own power, of the still one's, and at all.
_MOVED_PPM = 250_000
_MOVED_OF_ITS_PPM = 100_000
_MOVED_MW = 5_000


@dataclass(frozen=True, slots=True)
class Course:
    """The mean powers of one meter of a domain in the last windows, the newest last; -1: partly unread."""

    meter: str
    domain: Domain
    power_mw: tuple[int, ...]
    booked: bool

    @property
    def newest_mw(self) -> int:
        """Return the newest power."""
        return self.power_mw[-1]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How far a meter was found off, and beside what."""

    off_ppm: int
    reason: str


def compare(courses: Sequence[Course]) -> dict[int, Suspicion]:
    """Return which of the meters are off beyond what they and those beside them are accurate to, by place.

    Of two that measure the same, both are, by as much: which one is wrong nobody knows. Of a container and
    its parts it is the container: it is what reads slowly and in coarse steps.
    """
    found = {**_twins(courses), **_containers(courses)}
    for place in range(len(courses)):
        if place not in found and (suspicion := _stuck(place, courses)):
            found[place] = suspicion
    return found


def _twins(courses: Sequence[Course]) -> dict[int, Suspicion]:
    found: dict[int, Suspicion] = {}
    for i, one in enumerate(courses):
        for j, two in enumerate(courses[:i]):
            if one.domain.name != two.domain.name or one.domain.holds != two.domain.holds:
                continue
            if min(one.newest_mw, two.newest_mw) < 0:
                continue
            apart_mw = abs(one.newest_mw - two.newest_mw)
            if apart_mw <= _error_mw(one) + _error_mw(two) + _LEAST_MW:
                continue
            for place, own, other in ((i, one, two), (j, two, one)):
                shows = f"shows {_watts(own.newest_mw)} where {other.meter} shows {_watts(other.newest_mw)}"
                off = Suspicion(_ppm(apart_mw, min(one.newest_mw, two.newest_mw)), shows)
                if place not in found or found[place].off_ppm < off.off_ppm:
                    found[place] = off
    return found


def _containers(courses: Sequence[Course]) -> dict[int, Suspicion]:
    places = [i for i, c in enumerate(courses) if c.booked and c.domain.name.partition(".")[0] not in DETAILS]
    parents = parents_of([courses[i].domain.name for i in places])
    found = {}
    for at, place in enumerate(places):
        container = courses[place]
        parts = [courses[places[i]] for i, parent in enumerate(parents) if parent == at]
        if container.newest_mw < 0 or not parts or any(part.newest_mw < 0 for part in parts):
            continue
        parts_mw = sum(part.newest_mw for part in parts)
        allowed_mw = _error_mw(container) + sum(map(_error_mw, parts)) + _LEAST_MW
        if parts_mw - container.newest_mw > allowed_mw:
            off_ppm = _ppm(parts_mw - container.newest_mw, container.newest_mw)
            shows = f"shows {_watts(container.newest_mw)} where its parts add up to {_watts(parts_mw)}"
            found[place] = Suspicion(off_ppm, shows)
    return found


def _stuck(place: int, courses: Sequence[Course]) -> Suspicion | None:
    """Find a meter at rest while its twin, or a part of what it holds, moved by far more than its steps."""
    one = courses[place]
    if len(one.power_mw) < STUCK_WINDOWS or min(one.power_mw) < 0:
        return None
    if _spread_mw(one) * 1_000_000 > _STILL_PPM * one.newest_mw:
        return None
    for other in courses:
        if other is one or len(other.power_mw) < STUCK_WINDOWS or min(other.power_mw) < 0:
            continue
        holds = parents_of([one.domain.name, other.domain.name])[1] == 0 and other.booked
        moved_mw = _spread_mw(other)
        if (
            (holds or other.domain.name == one.domain.name)
            and moved_mw > _MOVED_MW
            and moved_mw * 1_000_000 > _MOVED_PPM * min(other.power_mw)
            and moved_mw * 1_000_000 > _MOVED_OF_ITS_PPM * one.newest_mw
        ):
            what = other.meter if other.domain.name == one.domain.name else other.domain.name
            reason = f"stuck at {_watts(one.newest_mw)} while {what} moved by {_watts(moved_mw)}"
            return Suspicion(_ppm(moved_mw, one.newest_mw), reason)
    return None


def _spread_mw(course: Course) -> int:
    return max(course.power_mw) - min(course.power_mw)


def _error_mw(course: Course) -> int:
    return course.newest_mw * course.domain.accuracy_ppm // 1_000_000


def _ppm(apart_mw: int, own_mw: int) -> int:
    return min(WHOLLY_OFF_PPM, apart_mw * 1_000_000 // max(own_mw, 1))


def _watts(power_mw: int) -> str:
    return f"{power_mw / 1000:.4g} W"
