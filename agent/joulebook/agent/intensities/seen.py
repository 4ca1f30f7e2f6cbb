"""What a Report's readings show of CPU packages: what they drew, and who used them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Group = tuple[str, tuple[int, ...]]

# As many ticks tell more of means together than by themselves.
_TICKS_A_PART, _MOST_PARTS = 5, 4


@dataclass(frozen=True, slots=True)
class Package:
    """The columns of a package, or of all of them together: energy, unread time, idle floor and busy CPUs."""

    name: str
    energy: tuple[int, ...]
    unread: tuple[int, ...]
    floor: tuple[int, ...]
    # None: it is not told.
    busy: int | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a row what is. groups are jobs by the packages that they may run on (none: all of them).

    A group's use is its columns' sum, each with a sign: what a workload contains of others is theirs.
    """

    packages: tuple[Package, ...]
    busy: int
    groups: Mapping[Group, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Part:
    """A package in a part of a Report. Powers in W: drawn beyond the idle floor, and in all.

    busy are threads by job; others those of what is no job. is_read: nothing of it was unread, and its meter
    did not stand still: no package draws nothing.
    """

    package: int
    length_s: float
    beyond_w: float
    drawn_w: float
    busy: dict[str, float]
    others: float
    is_read: bool

    @property
    def threads(self) -> float:
        """Return how many were busy."""
        return self.others + sum(self.busy.values())


def parts_of(columns: Columns, times_us: Sequence[int], rows: Sequence[Sequence[int]]) -> list[list[Part]]:
    """Return the parts of a Report, each with its packages; rows are readings at the times."""
    ticks = len(rows) - 1
    count = min(max(ticks // _TICKS_A_PART, 1), _MOST_PARTS)
    cuts = [round(i * ticks / count) for i in range(count + 1)]
    return [
        _part(columns, rows[begin], rows[end], times_us[end] - times_us[begin])
        for begin, end in pairwise(cuts)
    ]


def _part(columns: Columns, begin: Sequence[int], end: Sequence[int], length_us: int) -> list[Part]:
    def grown(places: Sequence[int]) -> int:
        return sum([end[at] - begin[at] for at in places])

    packages = columns.packages
    busy: list[dict[str, float]] = [{} for _ in packages]
    told = [0.0 if p.busy is None else (end[p.busy] - begin[p.busy]) / length_us for p in packages]
    node = (end[columns.busy] - begin[columns.busy]) / length_us
    anywhere = []
    for (job, own), signed in columns.groups.items():
        use = max(sum([sign * (end[at] - begin[at]) for at, sign in signed]) / length_us, 0.0)
        if len(packages) == 1 or len(own) == 1:
            at = own[0] if len(packages) > 1 else 0
            busy[at][job] = busy[at].get(job, 0.0) + use
        else:
            anywhere.append((job, own or tuple(range(len(packages))), use))
    left = [max(of - sum(there.values()), 0.0) for of, there in zip(told, busy, strict=True)]
    for job, own, use in anywhere:
        room = sum([left[at] for at in own])
        for at in own:
            share = left[at] / room if room else 1 / len(own)
            busy[at][job] = busy[at].get(job, 0.0) + use * share
    used = [sum(there.values()) for there in busy]
    rest = max(node - sum(used), 0.0) / len(packages)
    parts = []
    for at, package in enumerate(packages):
        drawn_uj = grown(package.energy)
        drawn_w = drawn_uj / length_us
        floor_w = sum([end[place] for place in package.floor]) / 1000
        others = rest if package.busy is None else max(told[at] - used[at], 0.0)
        is_read = drawn_uj > 0 and grown(package.unread) == 0
        parts.append(Part(at, length_us / 1e6, drawn_w - floor_w, drawn_w, busy[at], others, is_read))
    return parts


def by_job(means: Sequence[Part]) -> dict[str, float]:
    """Return how many threads of each job are busy on all packages."""
    used: dict[str, float] = {}
    for mean in means:
        for job, use in mean.busy.items():
            used[job] = used.get(job, 0.0) + use
    return used


def means_of(parts: Sequence[Sequence[Part]]) -> list[Part]:
    """Return each package's mean over a Report's parts."""
    length_s = sum([packages[0].length_s for packages in parts])
    means = []
    for own in zip(*parts, strict=True):
        weights = [part.length_s / length_s for part in own]
        of = list(zip(own, weights, strict=True))
        busy = {job: sum([part.busy[job] * by for part, by in of]) for job in own[0].busy}
        means.append(
            Part(
                own[0].package,
                length_s,
                sum([part.beyond_w * by for part, by in of]),
                sum([part.drawn_w * by for part, by in of]),
                busy,
                sum([part.others * by for part, by in of]),
                all(part.is_read for part in own),
            )
        )
    return means
