"""Learns what a busy CPU of each job draws from how packages' power moves with jobs' CPU time.

Beyond its idle floor a package draws w̄ g(S) − g(a) + e: S threads are busy, a of them always, by what is no
job; w̄ is the mean of the jobs' intensities over them, 1 being the likely one; e is the floor's error. The
logarithms of intensities, the curve's three unknowns and each package's e are one Kalman filter's state,
linearised anew at every observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulebook.agent.intensities.curve import LEVEL, POWER, SECOND, draws_w, following
from joulebook.agent.intensities.estimate import Estimate
from joulebook.agent.intensities.seen import Part, by_job, means_of

# So many jobs, the busiest, have an intensity of their own; the others the likely one.
_MOST_JOBS = 16
# One that is known gives way only to one so much busier: else what was learnt would go with each turn.
_STAYS = 1.25
# Deviations before anything was seen: of logarithms of the level, of intensities and of what a second thread
# adds; of the power; of a floor, W.
_LEVEL, _AMONG, _SECOND, _BEND, _FLOOR_W = 1.0, 0.3, 0.5, 0.1, 0.5
# So much may become unknown, at most, of what nothing tells: of a job that rests for days.
_LEVEL_MOST, _AMONG_MOST, _FLOOR_MOST_W = 1.0, 1.0, 5.0
_LIKELY_POWER, _LIKELY_SECOND = 0.9, math.log(0.5)
# By how much they may move within _REPORT_S, and an intensity where a job's phase changes; of longer time, a
# node's sleep, no more is made than of so many.
_REPORT_S, _LONGEST = 10.0, 360.0
_LEVEL_WALK, _FLOOR_WALK_W, _WALK, _PHASE = 0.002, 0.02, 0.02, 0.12
# A phase changes where use steps by this part, or power is off by so many times its likely variance.
_STEP, _OFF = 0.1, 4.0
# Where all jobs together are off by such a logarithm from the likely intensity for so long, in _REPORT_S,
# what was learnt is of readings that were none: it begins anew.
_LEANING, _ASTRAY_FOR = 1.5, 6.0
# Use that steps more often than that, in _REPORT_S, is how a job is, and no phase.
_SHORTEST = 6.0
# Noise of a second's power, as a part of it: what it is taken for at first, by as many observations, and by
# how many at the end. What is further off than three deviations is no noise.
_NOISE, _NOISE_FIRST, _NOISE_LAST, _NOISE_MOST = 0.02, 20, 300, 9.0
# What no such curve has, as a part of what was drawn beyond the floor.
_MODEL_ERROR = 0.007
# What is always busy is the least that was seen, which rises by as much in _REPORT_S. It is no less than so
# many threads, from which alone it could rise again: next to jobs rounding often shows none.
_FORGET, _ALWAYS = 1.001, 0.02
# What the curve's unknowns can be, and how far a logarithm of an intensity may be from the likely one.
_BOUNDS, _FURTHEST = ((-10.0, 10.0), (0.3, 1.2), (-4.0, 0.7)), 3.0
# What nobody is charged less than, as a part of what a likely thread draws.
_CHARGED = 0.02
# Fewer threads tell nothing; and by so many a package must be busier than always before a level is told.
_LEAST, _BEGIN = 1e-3, 0.3


@dataclass(frozen=True, slots=True)
class Learnt:
    """W that a busy CPU draws, of each job and of what is no job; deviations as parts of jobs' shares."""

    job_w: dict[str, float]
    others_w: float
    error: dict[str, float]


class Learner:
    """Takes Reports in order of time. Its state is as large as a node's packages and sixteen jobs need."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._known = Estimate()
        self._known.add("level", 0.0, _LEVEL)
        self._known.add("power", _LIKELY_POWER, _BEND)
        self._known.add("second", _LIKELY_SECOND, _SECOND)
        self._begun = False
        # What each job used in the Report before, and for how long, in _REPORT_S, its use has not stepped.
        self._used: dict[str, tuple[float, float]] = {}
        self._always: dict[str, float] = {}
        self._noise, self._noises = _NOISE**2, float(_NOISE_FIRST)
        self._astray = 0.0

    @property
    def unknowns(self) -> int:
        """Return how many there are in its state."""
        return len(self._known.names)

    def learn(self, names: Sequence[str], half: float, parts: Sequence[Sequence[Part]]) -> Learnt | None:
        """Take a Report's parts, each of the named packages of so many cores; None: nothing is known."""
        means = means_of(parts)
        # Where workloads come and go Reports are shorter, and more: time counts, not how many there are.
        passed = min(means[0].length_s / _REPORT_S, _LONGEST)
        for name, mean in zip(names, means, strict=True):
            before = self._always.get(name, mean.others)
            self._always[name] = min(max(before, _ALWAYS) * _FORGET**passed, mean.others)
        if not self._begun and not self._begin(names, half, means):
            return None
        used = by_job(means)
        self._take_up(names, used)
        self._loosen(used, passed)
        place = {name: at for at, name in enumerate(self._known.names)}
        self._hear_noise(names, half, parts, place)
        off, count = 0.0, 0
        for packages in parts:
            for part in packages:
                if part.is_read and part.threads >= _LEAST:
                    off += self._see(names, half, part, means[part.package].drawn_w, place)
                    count += 1
        if count:
            is_astray = abs(self._leaning(used, place)) > _LEANING
            self._astray = self._astray + passed if is_astray else 0.0
        if not self._bounded(place) or self._astray > _ASTRAY_FOR:
            self._restart()
            return None
        if off > _OFF * count:
            # Something changed, and nobody's use tells whose.
            for at in self._jobs(place):
                self._known.loosen(at, _PHASE, _AMONG_MOST)
        return self._told(names, half, means, place)

    def _leaning(self, used: Mapping[str, float], place: Mapping[str, int]) -> float:
        """Return the mean logarithm of intensities, by use."""
        known = [(use, self._known.mean[place[job]]) for job, use in used.items() if job in place]
        return sum([use * mean for use, mean in known]) / max(sum([use for use, _ in known]), _LEAST)

    def _bounded(self, place: Mapping[str, int]) -> bool:
        """Keep what was learnt within what is possible; say whether it can be gone on with."""
        for at, (least, most) in zip((LEVEL, POWER, SECOND), _BOUNDS, strict=True):
            self._known.bound(at, least, most)
        for at in self._jobs(place):
            self._known.bound(at, -_FURTHEST, _FURTHEST)
        return self._known.is_sound

    def _begin(self, names: Sequence[str], half: float, means: Sequence[Part]) -> bool:
        """Take the level from the first Report in which a package is busier than always."""
        likely_w = beyond_w = 0.0
        for name, mean in zip(names, means, strict=True):
            always = self._always[name]
            if mean.is_read and mean.threads > always + _BEGIN:
                state = self._known.mean
                likely_w += draws_w(state, mean.threads, half)[0] - draws_w(state, always, half)[0]
                beyond_w += mean.beyond_w
        self._begun = likely_w > 0 and beyond_w > 1
        if self._begun:
            self._known.mean[LEVEL] = math.log(beyond_w / likely_w)
        return self._begun

    def _take_up(self, names: Sequence[str], used: Mapping[str, float]) -> None:
        """Let go of jobs that are not among the busiest; begin with those that came, and with packages."""
        known = self._known
        there = set(known.names)
        rank = {job: use * _STAYS if job in there else use for job, use in used.items()}
        busiest = sorted(used, key=lambda job: (-rank[job], job))[:_MOST_JOBS]
        keep = {*known.names[:3], *names, *busiest}
        for name in [name for name in known.names if name not in keep]:
            known.forget(name)
            self._used.pop(name, None)
        for name in names:
            if name not in there:
                known.add(name, 0.0, _FLOOR_W)
        for job in busiest:
            if job not in there and used[job] > _LEAST:
                known.add(job, 0.0, _AMONG)

    def _loosen(self, used: Mapping[str, float], passed: float) -> None:
        known = self._known
        root = math.sqrt(passed)
        known.loosen(LEVEL, _LEVEL_WALK * root, _LEVEL_MOST)
        for at, name in enumerate(known.names[3:], start=3):
            if name not in used:
                known.loosen(at, _FLOOR_WALK_W * root, _FLOOR_MOST_W)
                continue
            known.loosen(at, _WALK * root, _AMONG_MOST)
            now = used[name]
            before, rested = self._used.get(name, (now, _SHORTEST))
            rested += passed
            if abs(now - before) > _STEP * max(now, before, 0.3):
                known.loosen(at, _PHASE * math.sqrt(min(rested / _SHORTEST, 1.0)), _AMONG_MOST)
                rested = 0.0
            self._used[name] = now, rested

    def _hear_noise(
        self, names: Sequence[str], half: float, parts: Sequence[Sequence[Part]], place: Mapping[str, int]
    ) -> None:
        """Learn the noise from neighbours: what they are both off by is no noise."""
        before: dict[int, tuple[float, Part]] = {}
        for packages in parts:
            for part in packages:
                if not part.is_read:
                    continue
                apart_w = part.beyond_w - self._likely_w(names, half, part, place)
                if part.package in before and part.drawn_w > _LEAST:
                    other_w, other = before[part.package]
                    length_s = 1 / (1 / part.length_s + 1 / other.length_s)
                    seen = (apart_w - other_w) ** 2 * length_s / part.drawn_w**2
                    self._noises = min(self._noises + 1, _NOISE_LAST)
                    self._noise += (min(seen, _NOISE_MOST * self._noise) - self._noise) / self._noises
                    self._noise = max(self._noise, 1e-5)
                before[part.package] = apart_w, part

    def _mean_of(self, part: Part, place: Mapping[str, int]) -> float:
        """Return the mean intensity of all threads."""
        weighted = [self._intensity(job, place) * use for job, use in part.busy.items()]
        return (part.others + sum(weighted)) / max(part.threads, _LEAST)

    def _intensity(self, job: str, place: Mapping[str, int]) -> float:
        return math.exp(self._known.mean[place[job]]) if job in place else 1.0

    def _likely_w(self, names: Sequence[str], half: float, part: Part, place: Mapping[str, int]) -> float:
        state, name = self._known.mean, names[part.package]
        alone_w = draws_w(state, self._always[name], half)[0]
        return (
            self._mean_of(part, place) * draws_w(state, part.threads, half)[0] - alone_w + state[place[name]]
        )

    def _see(
        self, names: Sequence[str], half: float, part: Part, drawn_w: float, place: Mapping[str, int]
    ) -> float:
        state, name = self._known.mean, names[part.package]
        power_w, *by = draws_w(state, part.threads, half)
        alone_w, *alone_by = draws_w(state, self._always[name], half)
        mean = self._mean_of(part, place)
        gradient = [(LEVEL, mean * power_w - alone_w), (place[name], 1.0)]
        gradient += [(POWER + i, mean * by[i] - alone_by[i]) for i in range(2)]
        each_w = power_w / part.threads
        gradient += [
            (place[job], self._intensity(job, place) * use * each_w)
            for job, use in part.busy.items()
            if job in place
        ]
        apart_w = part.beyond_w - (mean * power_w - alone_w + state[place[name]])
        variance = self._noise * drawn_w**2 / part.length_s + (_MODEL_ERROR * max(part.beyond_w, 1.0)) ** 2
        return self._known.see(gradient, apart_w, variance)

    @staticmethod
    def _jobs(place: Mapping[str, int]) -> list[int]:
        return [at for name, at in place.items() if name.startswith("job:")]

    def _told(
        self, names: Sequence[str], half: float, means: Sequence[Part], place: Mapping[str, int]
    ) -> Learnt:
        """Return what each thread is charged: the Aumann–Shapley rule's, at the Report's mean use."""
        job_w: dict[str, float] = {}
        error: dict[str, float] = {}
        others_w = others = 0.0
        used = by_job(means)
        state = self._known.mean
        for name, mean in zip(names, means, strict=True):
            threads = mean.threads
            if threads < _LEAST:
                continue
            ratio = following(state, threads, half)
            come_w = draws_w(state, threads, half)[0] / threads / ratio
            discount = (1 - ratio) * self._mean_of(mean, place)
            each = {job: max(self._intensity(job, place) - discount, _CHARGED) for job in mean.busy}
            beyond = max(1 - self._always[name] / max(mean.others, _LEAST), 0.05)
            own = max(1 - discount, _CHARGED) * beyond
            each, off = self._doubted(mean, each, own, place)
            # Noise of the power is in what is shared.
            noise = math.sqrt(self._noise / mean.length_s) * mean.drawn_w / max(mean.beyond_w, 1.0)
            for job, use in mean.busy.items():
                part = use / used[job] if used[job] > 0 else 1 / len(names)
                job_w[job] = job_w.get(job, 0.0) + part * each[job] * come_w
                error[job] = error.get(job, 0.0) + part * math.hypot(off[job], noise)
            others_w += mean.others * own * come_w
            others += mean.others
        return Learnt(job_w, others_w / others if others > 0 else 1e-3, error)

    def _doubted(
        self, mean: Part, each: Mapping[str, float], own: float, place: Mapping[str, int]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Bring what is charged together where it is not further apart than it may be off; return that, too.

        Where the mix cannot tell jobs apart, CPU time is right more often than what noise says.
        """
        charged = {job: use * each[job] for job, use in mean.busy.items()}
        total = sum(charged.values()) + mean.others * own
        share = {job: by / total for job, by in charged.items()}
        known = [job for job in charged if job in place]
        by = [share[job] * self._intensity(job, place) / each[job] for job in known]
        whole, withs = self._known.sum_of([(place[job], own) for job, own in zip(known, by, strict=True)])
        off = dict.fromkeys(charged, math.sqrt(max(whole, 0.0)))
        for job, follows, with_whole in zip(known, by, withs, strict=True):
            # Its share follows its own intensity, and falls as those of all rise.
            alone = follows / max(share[job], 1e-9)
            variance = self._known.covariance[place[job]][place[job]]
            off[job] = math.sqrt(max(alone * (alone * variance - 2 * with_whole) + whole, 0.0))
        busy = sum(mean.busy.values())
        if busy < _LEAST:
            return dict(each), off
        middle = sum(charged.values()) / busy
        apart = sum([use * (each[job] / middle - 1) ** 2 for job, use in mean.busy.items()])
        doubt = sum([use * off[job] ** 2 for job, use in mean.busy.items()])
        keep = 1 / (1 + (doubt / max(apart, 1e-12)) ** 4)
        for job in charged:
            off[job] = math.hypot(off[job], (1 - keep) * (each[job] / middle - 1))
        return {job: middle + keep * (by - middle) for job, by in each.items()}, off
