"""What is read of workloads at a tick, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter

from joulebook.agent.source import Metric
from joulebook.agent.workloads.column import CPU, IO, MEMORY, Column, FileColumn, Member
from joulebook.agent.workloads.gates import Child, Gate, Loose
from joulebook.agent.workloads.gatetree import Gates, GateTree
from joulebook.agent.workloads.gauges import TURNS, GaugeGate, Turns
from joulebook.agent.workloads.opener import Figures

# For fewer columns than these a group is not worth a reading more.
FEWEST = 4

_KINDS = (CPU, IO, MEMORY)

_value, _columns = attrgetter("value"), attrgetter("columns")


class Readings:
    """The columns of all members. arrange() when some came or went; each tick read_cpu() and read_rest()."""

    def __init__(self, opener: Figures) -> None:
        self._open_above = opener.open_above
        # What ran in this tick, as far as it was looked for.
        self._ran: list[Child] = []
        moved: list[Child] = []
        self._cpu = Gates(Loose(self._ran), partial(self._open_gate, CPU, self._ran), FEWEST)
        self._io = Gates(Loose(moved), partial(self._open_gate, IO, moved), FEWEST)
        self._io_moved = moved
        # At the last tick: what moved bytes, and what may have.
        self.moved: list[object] = []
        self._gauges = GateTree[GaugeGate, Turns](Turns(), self._open_gauge, FEWEST * TURNS)
        self._gauges_of: dict[Child, list[FileColumn]] = {}
        # The columns of members that are cgroups, by their path, and of all others.
        self._taken: dict[str, list[FileColumn]] = {}
        self._others: list[Column] = []
        self._other_gauges = Turns()
        # New gauges, and until when each is read at every tick: a new workload still grows.
        self._young: list[tuple[Column, int]] = []
        self._ticks = 0
        self.columns: list[Column] = []

    def arrange(
        self,
        before: Sequence[Member],
        groups: Sequence[Member],
        after: Sequence[Member],
        changed: Iterable[tuple[str, Member | None]],
    ) -> None:
        """Take up all members in their order; groups: those that are cgroups.

        changed has the paths at which a cgroup came, went or became another, and what is there now.
        """
        self._take_up(changed)
        self._take_up_others(_all((*before, *after)))
        self.columns = _all((*before, *groups, *after))

    def values(self) -> list[int]:
        """Return what each column shows."""
        return list(map(_value, self.columns))

    def read_cpu(self) -> None:
        """Read the CPU time of all."""
        for column in self._others:
            if column.metric == CPU:
                column.read()
        self._cpu.loose.read()

    def read_rest(self) -> None:
        """Read IO, and the gauges whose turn it is."""
        for column in self._others:
            if column.metric not in (CPU, MEMORY):
                column.read()
        self._io.loose.read()
        self.moved = [*self._io_moved, *self._others]
        self._io_moved.clear()
        self._note_who_ran()
        turn = self._ticks % TURNS
        self._other_gauges.read(turn)
        self._gauges.loose.read(turn)
        for gate in self._gauges.by_path.values():
            gate.read(turn)
        if self._young:
            self._read_young()
        self._ticks += 1

    def close(self) -> None:
        """Give the descriptors of gates back."""
        self._cpu.close()
        self._io.close()
        self._gauges.close()

    def _note_who_ran(self) -> None:
        gates = self._gauges.by_path.values()
        # Of many, more would be read than there are in a turn.
        if 2 * TURNS * len(self._ran) >= len(self._gauges_of):
            for gate in gates:
                gate.note_many()
        elif gates:
            for child in self._ran:
                for gauge in self._gauges_of.get(child, ()):
                    if isinstance(holder := self._gauges.holder_of(gauge), GaugeGate):
                        holder.note(gauge)
        self._ran.clear()

    def _read_young(self) -> None:
        for gauge, _ in self._young:
            (self._gauges.holder_of(gauge) or self._other_gauges).look(gauge)
        self._young = [young for young in self._young if young[1] > self._ticks]

    def _take_up(self, changed: Iterable[tuple[str, Member | None]]) -> None:
        gone: dict[Metric, list[tuple[str, FileColumn]]] = {kind: [] for kind in _KINDS}
        came: dict[Metric, list[tuple[str, FileColumn]]] = {kind: [] for kind in _KINDS}
        for path, member in changed:
            known = self._taken.pop(path, [])
            # What never was a file shows what it was given.
            now = [each for each in member.columns if isinstance(each, FileColumn)] if member else []
            if now:
                self._taken[path] = now
            for column in known:
                self._gauges_of.pop(column, None)
                if column not in now:
                    gone[column.metric].append((path, column))
            for column in now:
                if column.metric == CPU:
                    self._gauges_of[column] = [each for each in now if each.metric == MEMORY]
                if column not in known:
                    came[column.metric].append((path, column))
        for kind, tree in ((CPU, self._cpu), (IO, self._io), (MEMORY, self._gauges)):
            if gone[kind] or came[kind]:
                tree.change(gone[kind], came[kind])
        if self._young:
            left = {column for _, column in gone[MEMORY]}
            self._young = [young for young in self._young if young[0] not in left]
        self._young += [(gauge, self._ticks + TURNS) for _, gauge in came[MEMORY]]

    def _take_up_others(self, columns: list[Column]) -> None:
        known, now = set(self._others), set(columns)
        for column in known - now:
            self._other_gauges.drop(column)
        for column in columns:
            if column.metric == MEMORY and column not in known:
                self._other_gauges.add(column)
                self._young.append((column, self._ticks + TURNS))
        self._young = [young for young in self._young if young[0] not in known or young[0] in now]
        self._others = columns

    def _open_gate(self, metric: Metric, moved: list[Child], path: str) -> Gate | None:
        column = self._open_above(metric, path)
        return Gate(column, moved) if column is not None else None

    def _open_gauge(self, path: str) -> GaugeGate | None:
        # Who ran is known only where CPU time is.
        column = self._open_above(MEMORY, path) if path in self._cpu.by_path else None
        return GaugeGate(column) if column is not None else None


def _all(members: Iterable[Member]) -> list[Column]:
    return list(chain.from_iterable(map(_columns, members)))
