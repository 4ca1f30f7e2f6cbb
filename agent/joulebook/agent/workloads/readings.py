"""What is read of workloads at a tick, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter

from joulebook.agent.workloads.column import CPU, IO, MEMORY, Column, Member
from joulebook.agent.workloads.gates import FEWEST, Gate, Gates, GaugeGate
from joulebook.agent.workloads.opener import Figures

# Memory changes slowly beside a tick, so each gauge is read only every fifth one, in turn: that saves
# two fifths of all reads. A new workload still grows, and is read at each of its first ticks.
_TURNS = 5

_value = attrgetter("value")


class Readings:
    """The columns of all members. arrange() when some came or went; each tick read_cpu() and read_rest()."""

    def __init__(self, opener: Figures) -> None:
        self._open_sum = partial(opener.open_above, MEMORY)
        self._cpu = Gates(partial(opener.open_above, CPU))
        self._io = Gates(partial(opener.open_above, IO))
        self._cpu_time: list[Column | Gate] = []
        self._each_tick: list[Column | Gate] = []
        # Gauges by the group that they are directly below, and all others in turns.
        self._gauges: dict[str, GaugeGate] = {}
        self._in_turn: list[list[Column]] = []
        self._turns_given = 0
        self._young: list[tuple[Column, int]] = []
        self._ticks = 0
        self.columns: list[Column] = []

    def arrange(self, before: Sequence[Member], groups: Sequence[Member], after: Sequence[Member]) -> None:
        """Take up all members in their order; groups: those that are cgroups, by their paths."""
        others = [*before, *after]
        for member in (*others, *groups):
            for column in member.take_up():
                self._young.append((column, self._ticks + _TURNS))
            if member.turn < 0:
                self._turns_given += 1
                member.turn = self._turns_given % _TURNS
        below: dict[str, list[Member]] = {}
        for member in groups:
            below.setdefault(member.above, []).append(member)
        cpu = {path: _all([each.cpu for each in inside]) for path, inside in below.items()}
        io = {path: _all([each.others for each in inside]) for path, inside in below.items()}
        # One after the other, so that little happens between a group's and that of what contains it.
        self._cpu_time = [*_all([each.cpu for each in others]), *self._cpu.arrange(cpu)]
        self._each_tick = [*_all([each.others for each in others]), *self._io.arrange(io)]
        self._arrange_gauges(others, below)
        self.columns = _all([each.columns for each in (*before, *groups, *after)])
        if self._young:
            there = set(map(id, self.columns))
            self._young = [young for young in self._young if id(young[0]) in there]

    def values(self) -> list[int]:
        """Return what each column shows."""
        return list(map(_value, self.columns))

    def read_cpu(self) -> None:
        """Read the CPU time of all."""
        for one in self._cpu_time:
            one.read()

    def read_rest(self) -> None:
        """Read IO, and the gauges whose turn it is."""
        for one in self._each_tick:
            one.read()
        turn = self._ticks % _TURNS
        for column in self._in_turn[turn]:
            column.read()
        for gate in self._gauges.values():
            gate.read(turn)
        if self._young:
            for column, _ in self._young:
                column.read()
            self._young = [young for young in self._young if young[1] > self._ticks]
        self._ticks += 1

    def close(self) -> None:
        """Give the descriptors of gates back."""
        self._cpu.close()
        self._io.close()
        for gate in self._gauges.values():
            gate.column.close()

    def _arrange_gauges(self, others: Iterable[Member], below: Mapping[str, Sequence[Member]]) -> None:
        gates, self._gauges = self._gauges, {}
        self._in_turn = _turns(others)
        for path, inside in below.items():
            turns = _turns(inside)
            gate = self._gate(path, sum(map(len, turns)), gates.pop(path, None))
            if gate is not None:
                gate.turns = turns
                self._gauges[path] = gate
            else:
                for turn, gauges in enumerate(turns):
                    self._in_turn[turn] += gauges
        for gate in gates.values():
            gate.column.close()

    def _gate(self, path: str, count: int, known: GaugeGate | None) -> GaugeGate | None:
        """Return what speaks for the gauges below a group, if there is such; what is not that is closed."""
        cpu = self._cpu.by_path.get(path) if count >= FEWEST * _TURNS else None
        if known is not None:
            if known.cpu is cpu and not known.column.gone:
                return known
            known.column.close()
        column = self._open_sum(path) if cpu is not None else None
        return GaugeGate(column, cpu, _TURNS) if cpu is not None and column is not None else None


def _all(columns: Iterable[list[Column]]) -> list[Column]:
    return list(chain.from_iterable(columns))


def _turns(members: Iterable[Member]) -> list[list[Column]]:
    """Return the gauges of each turn."""
    turns: list[list[Column]] = [[] for _ in range(_TURNS)]
    for member in members:
        turns[member.turn] += member.gauges
    return turns
