"""One series of a workload, read from a file kept open."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from joulebook.agent.source import Metric, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import metrics_pb2

CPU = metrics_pb2.METRIC_WORKLOAD_CPU
MEMORY = metrics_pb2.METRIC_WORKLOAD_MEMORY
IO = metrics_pb2.METRIC_WORKLOAD_IO
COUNTERS = frozenset((CPU, IO))

_REMEMBERED_IDS = 4096

# Where counters stand, by metric and, of what is told by disk, the disk; else "".
Stood: TypeAlias = dict[tuple[Metric, str], int]


def stood(metric: Metric, value: int) -> Stood:
    """Return where a figure of a whole workload stands, if it is a counter."""
    return {(metric, ""): value} if metric in COUNTERS else {}


class Column(Protocol):
    """A series and its latest value."""

    metric: Metric
    value: int

    def read(self) -> int | None:
        """Bring value up to date; what cannot be read keeps the last one."""

    def past(self) -> Stood:
        """Return where its counters stand, from which one that comes back goes on."""

    def close(self) -> None:
        """Give the descriptors back."""


@dataclass(slots=True)
class Member:
    """A workload, its columns, and its path in the hierarchy of CPU time ("": it has none)."""

    workload: Workload
    columns: list[Column] = field(default_factory=list)
    path: str = ""
    # The path of what contains it.
    above: str = field(init=False)
    # The workload with what it has from the one that contains it, and the columns' series; the same objects
    # while nothing changes.
    placed: Workload = field(init=False)
    series: tuple[Series, ...] = ()
    _placed_from: Workload = field(init=False)

    def __post_init__(self) -> None:
        """Find what contains it."""
        self.above = self.path.rpartition("/")[0]
        self.placed = self._placed_from = self.workload

    def place(self, parent: str, packages: tuple[int, ...] = ()) -> None:
        """Take the workload's parent, and its CPU packages where it has none of its own."""
        own, known = self.workload, self.placed
        packages = own.packages or packages
        if self._placed_from is not own or known.parent != parent or known.packages != packages:
            same = own.parent == parent and own.packages == packages
            self.placed = own if same else replace(own, parent=parent, packages=packages)
            self._placed_from = own
        if len(self.series) != len(self.columns) or (self.series and self.series[0].workload != own.id):
            self.series = tuple(Series(column.metric, workload=own.id) for column in self.columns)

    def close(self) -> None:
        """Close the columns."""
        for column in self.columns:
            column.close()


class FileColumn:
    """A figure in a cgroup file. A counter never falls: a group made anew carries on from the last value."""

    __slots__ = (
        "_base",
        "_counts",
        "_fd",
        "_file",
        "_inode",
        "_parse",
        "_per",
        "_raw",
        "_size",
        "before",
        "figure",
        "gone",
        "metric",
        "value",
    )

    def __init__(
        self,
        metric: Metric,
        file: str,
        parse: Callable[[bytes], int],
        size: int,
        *,
        per: int = 1,
        base: int,
        fresh: bool,
    ) -> None:
        """Open the file, whose unit goes so many times into the series'. base is what earlier lives showed.

        fresh: the group began after the previous tick, so all that it shows belongs to this interval.
        """
        self.metric = metric
        self._counts = metric in COUNTERS
        self._file, self._parse, self._size, self._per = file, parse, size, per
        self._base = base if self._counts else 0
        self._fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._inode = os.fstat(self._fd).st_ino
            self._raw = os.pread(self._fd, size, 0)
            # As the kernel counts, in its own unit.
            self.figure = parse(self._raw)
        except (OSError, ValueError):
            os.close(self._fd)
            raise
        if fresh and self._counts:
            self.figure, self._raw = 0, b""
        self.value = self._base + self.figure // per
        # The value at the reading before; of a group that is gone, at the one before its last.
        self.before = self.value
        self.gone = False

    def read(self) -> int:
        """Take the file's figure; return how much that grew, in the kernel's unit; below 0: it fell."""
        try:
            raw = os.pread(self._fd, self._size, 0)
            # Of most workloads most ticks find nothing new.
            if raw == self._raw:
                self.before = self.value
                return 0
            figure = self._parse(raw)
        except (OSError, ValueError):
            self.gone = True
            return 0  # the walk will let it go
        self.before = self.value
        self._raw = raw
        known, self.figure = self.figure, figure
        if figure < known and self._counts:
            # cpuacct.usage may be written to 0.
            self._base = self.value
        self.value = self._base + figure // self._per
        return figure - known

    def rest(self) -> None:
        """Take it that the file shows what it did."""
        self.before = self.value

    def renew(self) -> bool:
        """Follow the path to another file, if there is another now: a new life begins at 0."""
        try:
            # The kept descriptor holds the old inode, so its number cannot have been given out again.
            if os.stat(self._file).st_ino == self._inode:  # noqa: PTH116  (a Path costs as much as the call)
                return False
            fd = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        os.close(self._fd)
        self._fd, self._inode, self._raw, self.figure = fd, os.fstat(fd).st_ino, b"", 0
        self.gone = False
        if self._counts:
            self._base = self.value
        return True

    def settle(self, amount: int) -> None:
        """Add what the group used after its last reading."""
        self._base += amount
        self.value += amount

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


class GivenColumn:
    """A counter of a workload that was never read: it shows what it is given."""

    def __init__(self, metric: Metric, value: int) -> None:
        self.metric = metric
        self.value = value

    def read(self) -> None:
        """Find nothing to read."""

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Nothing is open."""

    def settle(self, amount: int) -> None:
        """Add to it."""
        self.value += amount


class Past:
    """Where the counters of workloads that went stood: one that comes back under its id goes on from there.

    Bounded, because most never come back.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[str, Stood] = OrderedDict()

    def keep(self, workload_id: str, columns: Iterable[Column]) -> None:
        """Remember the counters."""
        kept: Stood = {}
        for each in columns:
            kept |= each.past()
        self._values[workload_id] = kept
        self._values.move_to_end(workload_id)
        if len(self._values) > _REMEMBERED_IDS:
            self._values.popitem(last=False)

    def value(self, workload_id: str, metric: Metric) -> int:
        """Return where the counter stood; 0 for an id not seen before."""
        return self._values.get(workload_id, {}).get((metric, ""), 0)

    def by_disk(self, workload_id: str, metric: Metric) -> dict[str, int]:
        """Return where the counter stood by disk."""
        kept = self._values.get(workload_id, {})
        return {disk: n for (of, disk), n in kept.items() if of == metric and disk}
