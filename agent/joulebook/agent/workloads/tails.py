"""What a cgroup used between its last reading and its end, from what contained it.

A group's CPU time holds that of all groups that were ever below it. What it used in an interval, less what
those below it were seen to use, is therefore the tail of those that went in it, and the whole of those that
came and went in it. Where one went the tail is its own, exactly. Where several went it is split by how busy
each was and how long it lived, and the sum is exact. Where the group above has processes of its own, as the
root has, these are taken at the rate they had before. What could so have gone to another is in `unsure_us`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from joulebook.agent.workloads.column import FileColumn

# How often the processes of a group that has groups below it are looked at for what they use themselves.
_OWN_TICKS = 16


class Tail(NamedTuple):
    """What a group that went used after its last reading."""

    path: str
    used_us: int


class _Gone(NamedTuple):
    path: str
    column: FileColumn | None
    # What is not in `column`, since nobody had a column of it then.
    earlier_us: int
    lived_us: int


class _Hidden(NamedTuple):
    """A group that is no workload, or not yet: its column, and what it showed at first."""

    column: FileColumn
    first_us: int


@dataclass(slots=True)
class _Parent:
    """A group whose CPU time is read so that the tails of those below it can be told."""

    column: FileColumn
    below: dict[str, FileColumn | None] = field(default_factory=dict)
    gone: list[_Gone] = field(default_factory=list)
    # What was seen in earlier intervals of groups whose workloads count it in this one.
    earlier_us: int = 0
    # It has processes of its own, and what they use in millionths of a CPU; -1: not known yet.
    own: bool = False
    own_ppm: int = -1


class Tails:
    """The groups that contain workloads.

    Each refresh track(), bury() and follow(); each tick read() and settle().
    """

    def __init__(
        self,
        open_column: Callable[[str, bool], FileColumn | None],
        directory: Callable[[str], Path],
        cpus: int,
    ) -> None:
        """Have no group yet. open_column opens a path's CPU time, new or not; directory is where it lies."""
        self._open_column = open_column
        self._directory = directory
        self._cpus = cpus
        self._parents: dict[str, _Parent] = {}
        self._hidden: dict[str, _Hidden] = {}
        self._new: set[str] = set()
        self._since_us = 0
        self._ticks = 0
        self.unsure_us = 0

    def track(self, path: str, *, fresh: bool = False) -> None:
        """Keep account of a group and of those that contain it, the root only where it is asked for.

        fresh: it began after the previous tick.
        """
        while path not in self._parents:
            above = path.rpartition("/")[0]
            hidden = self._hidden.pop(path, None)
            column = hidden.column if hidden else self._open_column(path, fresh)
            if column is None:
                return
            self._parents[path] = _Parent(column, own=self._has_processes(path))
            self._new.add(path)
            if not above:
                return
            path, fresh = above, False

    def bury(self, path: str, at_us: int, *, stays: bool) -> None:
        """Note that a group went. stays: another is in its place already."""
        if stays and path in self._parents:
            self._parents[path].column.renew()
        if (parent := self._parents.get(path.rpartition("/")[0])) is None:
            return
        column = parent.below.get(path) if stays else parent.below.pop(path, None)
        earlier_us = 0
        if hidden := self._hidden.get(path):
            earlier_us = hidden.column.value - hidden.first_us
            if stays:
                hidden.column.renew()
        parent.gone.append(_Gone(path, column, earlier_us, max(at_us - self._since_us, 1)))

    def follow(
        self,
        below: dict[str, set[str]],
        changed: Iterable[str],
        column_of: Callable[[str], FileColumn | None],
        *,
        fresh: bool,
    ) -> None:
        """Take up what changed below the groups that are tracked.

        below has the groups below each, changed those that may be new or a workload now. fresh: what is new
        began after the last tick.
        """
        new, self._new = self._new, set()
        for each in {*changed, *new, *(each for path in new for each in below.get(path, ()))}:
            path = each.rpartition("/")[0]
            parent = self._parents.get(path)
            if parent is not None and each in below.get(path, ()):
                tracked = self._parents.get(each)
                own = column_of(each) or (tracked.column if tracked else None)
                if own is not None:
                    if (hidden := self._hidden.pop(each, None)) is not None:
                        parent.earlier_us += hidden.column.value - hidden.first_us
                        hidden.column.close()
                    parent.below[each] = own
                elif each not in parent.below:
                    column = parent.below[each] = self._open_column(each, fresh)
                    if column is not None:
                        self._hidden[each] = _Hidden(column, column.value)

    def read(self) -> None:
        """Read the groups that have any below them, and those that are no workloads."""
        for hidden in self._hidden.values():
            hidden.column.read()
        for parent in self._parents.values():
            if parent.below or parent.gone:
                parent.column.read()
            else:
                parent.column.before = parent.column.value

    def settle(self, now_us: int, *, sure: bool = True) -> list[Tail]:
        """Return the tails of what went in the interval that ends now. sure: all that is below is known."""
        length_us = now_us - self._since_us
        tails: list[Tail] = []
        ended: dict[str, int] = {}
        for path in sorted(self._parents, key=lambda each: each.count("/")):
            parent = self._parents[path]
            if parent.gone:
                left_us = self._left_us(path, parent, length_us, ended.get(path, 0))
                if not sure or parent.own or len({each.path for each in parent.gone}) > 1:
                    self.unsure_us += left_us
                for each, used_us in zip(parent.gone, _split(left_us, parent.gone, length_us), strict=True):
                    if sure:
                        ended[each.path] = ended.get(each.path, 0) + used_us
                        tails.append(Tail(each.path, used_us + each.earlier_us))
                    self._let_go(parent, each.path)
                parent.gone = []
            elif parent.own and (parent.own_ppm < 0 or self._ticks % _OWN_TICKS == 0):
                parent.own_ppm = max(0, _beyond_us(parent)) * 1_000_000 // max(length_us, 1)
            parent.earlier_us = 0
        self._since_us = now_us
        self._ticks += 1
        return tails

    def drop(self, path: str) -> None:
        """Stop keeping account of a group that is gone."""
        if (parent := self._parents.pop(path, None)) is not None:
            parent.column.close()

    def close(self) -> None:
        """Give the descriptors back."""
        for hidden in self._hidden.values():
            hidden.column.close()
        for parent in self._parents.values():
            parent.column.close()
        self._hidden, self._parents = {}, {}

    def _left_us(self, path: str, parent: _Parent, length_us: int, ended_us: int) -> int:
        """Return what is left of a group's use for those that went below it; ended_us: its own tail."""
        left_us = _beyond_us(parent) + ended_us
        if not parent.column.gone:
            parent.own = self._has_processes(path)
            if parent.own:
                left_us -= max(parent.own_ppm, 0) * length_us // 1_000_000
        if length_us > 0:
            left_us = min(left_us, self._cpus * length_us)
        return max(left_us, 0)

    def _let_go(self, parent: _Parent, path: str) -> None:
        if path not in parent.below and (hidden := self._hidden.pop(path, None)) is not None:
            hidden.column.close()

    def _has_processes(self, path: str) -> bool:
        try:
            with (self._directory(path) / "cgroup.procs").open("rb", buffering=0) as file:
                return bool(file.read(1))
        except OSError:
            return False


def _grown_us(column: FileColumn) -> int:
    """Return what a column grew by in this interval."""
    return 0 if column.gone else column.value - column.before


def _beyond_us(parent: _Parent) -> int:
    """Return what a group used beyond what those below it were seen to use."""
    below = [each for each in parent.below.values() if each is not None and not each.gone]
    seen_us = sum([each.value - each.before for each in below])
    return _grown_us(parent.column) + parent.earlier_us - seen_us


def _split(amount: int, gone: Sequence[_Gone], length_us: int) -> list[int]:
    """Split an amount by what each would have used: as busy as before, of one CPU where that is not known."""
    weights = [0]
    for each in gone:
        column = each.column
        # A group that is gone keeps what it grew by in the interval before.
        usual_us = column.value - column.before if column is not None and column.gone else length_us
        weights.append(weights[-1] + 1 + usual_us * each.lived_us // max(length_us, 1))
    marks = [amount * weight // weights[-1] for weight in weights]
    return [last - first for first, last in pairwise(marks)]
