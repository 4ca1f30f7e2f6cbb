"""Which group speaks for which columns, kept as they come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from joulebook.agent.workloads.column import Column, FileColumn
from joulebook.agent.workloads.gates import Gate, Loose

Columns: TypeAlias = Sequence[tuple[str, FileColumn]]


class Holder(Protocol):
    """What reads columns."""

    def add(self, child: FileColumn, counted: bool, /) -> None:
        """Have one more; counted: no other that is counted holds it."""

    def drop(self, child: FileColumn, /) -> None:
        """Have one less."""


class Speaker(Holder, Protocol):
    """A group that speaks for the columns below it."""

    def renew(self) -> None:
        """Follow the group's path to another group, if there is another now."""

    def close(self) -> None:
        """Give the descriptors back."""


S = TypeVar("S", bound=Speaker)
L = TypeVar("L", bound=Holder)


class GateTree(Generic[S, L]):
    """The groups that speak for enough of one kind of column, and for more than one group below them does."""

    def __init__(self, loose: L, open_gate: Callable[[str], S | None], fewest: int) -> None:
        """Have no column yet.

        loose has those that no group speaks for; open_gate returns None for a group that cannot; with fewer
        columns than fewest below it one is not worth its reading.
        """
        self.loose = loose
        self._open_gate = open_gate
        self._fewest = fewest
        self.by_path: dict[str, S] = {}
        self._columns: dict[str, list[FileColumn]] = {}
        # Of each group that contains columns, how many are at or below each group directly below it.
        self._below: dict[str, dict[str, int]] = {}
        self._places: dict[Column, tuple[S | L, bool]] = {}

    def holder_of(self, column: Column) -> S | L | None:
        """Return what reads a column; None where it is not one of these."""
        place = self._places.get(column)
        return place[0] if place is not None else None

    def change(self, gone: Columns, came: Columns) -> None:
        """Let go of columns and take up others, each with the path of its group."""
        touched: set[str] = set()
        for path, column in gone:
            self._columns[path].remove(column)
            if not self._columns[path]:
                del self._columns[path]
            self._count(path, -1, touched)
        for path, column in came:
            self._columns.setdefault(path, []).append(column)
            self._count(path, 1, touched)
        anew = self._weigh(touched)
        changed = [path for path, _ in (*gone, *came)]
        for _, column in gone:
            self._places.pop(column)[0].drop(column)
        if anew or any(path in self._below for path in changed):
            self._link()
            self._put([(path, each) for path in sorted(self._columns) for each in self._columns[path]])
        else:
            self._put(came)
        # What came may be in a group that was made anew itself.
        for path in {self._gate_above(path) for path in changed} - {""}:
            self.by_path[path].renew()

    def close(self) -> None:
        """Give the descriptors of groups back."""
        for gate in self.by_path.values():
            gate.close()
        self.by_path = {}

    def _count(self, path: str, change: int, touched: set[str]) -> None:
        while above := path.rpartition("/")[0]:
            counts = self._below.setdefault(above, {})
            counts[path] = counts.get(path, 0) + change
            if not counts[path]:
                del counts[path]
                if not counts:
                    del self._below[above]
            touched.add(above)
            path = above

    def _weigh(self, touched: set[str]) -> bool:
        """Open and close groups that became worth it, or ceased to be; say whether there were any."""
        changed = False
        for path in touched:
            counts = self._below.get(path, {})
            worth = len(counts) > 1 and (len(counts) >= self._fewest or sum(counts.values()) >= self._fewest)
            if worth and path not in self.by_path:
                if (gate := self._open_gate(path)) is not None:
                    self.by_path[path], changed = gate, True
            elif not worth and path in self.by_path:
                self._unlink(path)
                self.by_path.pop(path).close()
                changed = True
        return changed

    def _put(self, columns: Columns) -> None:
        for path, column in columns:
            place = self._place(path)
            if (known := self._places.get(column)) != place:
                if known is not None:
                    known[0].drop(column)
                place[0].add(column, place[1])
                self._places[column] = place

    def _place(self, path: str) -> tuple[S | L, bool]:
        """Return what is to read the columns of a group, and whether nothing it counts holds them."""
        gate_path, counted = self._gate_above(path), True
        while (path := path.rpartition("/")[0]) != gate_path:
            counted = counted and path not in self._columns
        return (self.by_path[gate_path], counted) if gate_path else (self.loose, True)

    def _gate_above(self, path: str) -> str:
        """Return the nearest group that contains this one and speaks for it; "": none."""
        while path := path.rpartition("/")[0]:
            if path in self.by_path:
                break
        return path

    def _link(self) -> None:
        """Have groups that changed read by those around them."""

    def _unlink(self, path: str) -> None:
        """Have a group that is about to go read no longer."""


class Gates(GateTree[Gate, Loose]):
    """Groups of which each is read by the one around it."""

    def __init__(self, loose: Loose, open_gate: Callable[[str], Gate | None], fewest: int) -> None:
        """Have no column yet."""
        super().__init__(loose, open_gate, fewest)
        self._gate_places: dict[str, tuple[Gate | Loose, bool]] = {}

    def _link(self) -> None:
        for path, gate in self.by_path.items():
            around, counted = self._place(path)
            # A workload that is such a group itself is counted, and the group is within it.
            place = around, counted and path not in self._columns
            if (known := self._gate_places.get(path)) != place:
                if known is not None:
                    known[0].drop(gate)
                around.add(gate, place[1])
                self._gate_places[path] = place

    def _unlink(self, path: str) -> None:
        around, _ = self._gate_places.pop(path)
        around.drop(self.by_path[path])
        if isinstance(around, Gate):
            # What the group hid, if anything, was accounted for.
            around.forget()
