"""Groups that are left unread while what contains them shows that none of them did anything.

A group's CPU time, and on v2 its IO, hold those of all groups below it. The kernel counts both at the group
first and then at what contains it, so one whose figure is what it was had nobody below it use any since. v1
counts nanoseconds. v2 shows whole microseconds, so what is less than one may show a little later below it; it
is not lost. The root is no such group: it is never at rest, and v2 has its figures from elsewhere.

Memory has no such order, but only what runs moves it. So a gauge is left unread only while none of its
neighbours ran, and the sum of all of them stayed the same to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from joulebook.agent.workloads.column import Column, FileColumn

# Fewer than so many columns are not worth a reading more.
FEWEST = 4

OpenAbove = Callable[[str], FileColumn | None]


@dataclass(slots=True)
class Gate:
    """A group, and the columns of those below it that its own figure speaks for."""

    column: FileColumn
    columns: list[Column] = field(default_factory=list)
    inner: list[Gate] = field(default_factory=list)
    # How often its figure was another than before.
    moves: int = 0
    _was_read: bool = False
    _rests: bool = False

    def read(self) -> None:
        """Read the group, and those below it if it moved."""
        # First of all, so that what moves while the others are read is found by the next reading.
        if self.column.moved() or not self._was_read:
            self._was_read, self._rests = True, False
            self.moves += 1
            for column in self.columns:
                column.read()
            for gate in self.inner:
                gate.read()
        elif not self._rests:
            self._rest()

    def _rest(self) -> None:
        """Have those below show that they used nothing."""
        self._rests = True
        for column in self.columns:
            if isinstance(column, FileColumn):
                column.before = column.value
        for gate in self.inner:
            gate._rest()


class Gates:
    """The groups that others are left unread for, of one kind of figure."""

    def __init__(self, open_above: OpenAbove) -> None:
        """open_above opens a group's figure; None: it has none that holds those of the groups below."""
        self._open_above = open_above
        self.by_path: dict[str, Gate] = {}

    def arrange(self, below: Mapping[str, list[Column]]) -> list[Column | Gate]:
        """Take up the columns by the group that each is directly below; return what to read, outermost."""
        wanted = _worthwhile(below)
        for path in [path for path in self.by_path if path not in wanted]:
            self.by_path.pop(path).column.close()
        for path in wanted:
            if path not in self.by_path and (column := self._open_above(path)) is not None:
                self.by_path[path] = Gate(column)
        gates = [self.by_path[path] for path in wanted if path in self.by_path]
        loose: list[Column | Gate] = []
        known = [gate.columns for gate in gates]
        for gate in gates:
            gate.columns, gate.inner = [], []
        for path in sorted(below):
            above = self._nearest(path)
            (loose if above is None else above.columns).extend(below[path])
        for gate, before in zip(gates, known, strict=True):
            if gate.columns != before:
                gate.column.renew()
        for path, gate in self.by_path.items():
            outer = self._nearest(path.rpartition("/")[0])
            (loose if outer is None else outer.inner).append(gate)
        return loose

    def close(self) -> None:
        """Give the descriptors back."""
        for gate in self.by_path.values():
            gate.column.close()
        self.by_path = {}

    def _nearest(self, path: str) -> Gate | None:
        while path:
            if (gate := self.by_path.get(path)) is not None:
                return gate
            path = path.rpartition("/")[0]
        return None


class GaugeGate:
    """Gauges that are read in turns, of groups that lie directly below one."""

    def __init__(self, column: FileColumn, cpu: Gate, turns: int) -> None:
        """Take the sum that the gauges are a part of, the gate of their CPU time, and the number of turns."""
        self.column = column
        self.cpu = cpu
        self.turns: list[list[Column]] = [[] for _ in range(turns)]
        # The sum, and how often the CPU time had moved, when each turn was read.
        self._seen: list[tuple[int, int] | None] = [None] * turns

    def read(self, turn: int) -> None:
        """Read the gauges of a turn, unless nothing can have changed."""
        self.column.read()
        now = (self.column.value, self.cpu.moves)
        if now != self._seen[turn] or self.column.gone:
            self._seen[turn] = now
            for column in self.turns[turn]:
                column.read()


def _worthwhile(below: Mapping[str, list[Column]]) -> list[str]:
    """Return the groups that speak for enough, and for more than one below them does; outer ones first."""
    counts: dict[str, int] = {}
    branches: dict[str, set[str]] = {}
    for path, columns in below.items():
        inside, up = "", path
        while up:
            counts[up] = counts.get(up, 0) + len(columns)
            if inside:
                branches.setdefault(up, set()).add(inside)
            inside, up = up, up.rpartition("/")[0]
    return sorted(
        path
        for path, count in counts.items()
        if count >= FEWEST and (path in below or len(branches.get(path, ())) > 1)
    )
