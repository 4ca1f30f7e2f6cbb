"""Groups that are left unread while what contains them shows that none of them did anything.

A group's CPU time, and on v2 its IO, hold those of all groups below it. The kernel counts both at the group
first and then at what contains it. So what contains them is read first, and then those below it that ran
lately. Once what these and earlier readings found is as much as it shows, nobody else can have used anything
before it was read, and the rest is left unread. Only what those that were read used in the meantime may hide
as much of another's; the group is therefore read once more, and where that leaves a doubt, none is left in
the next tick. What is hidden is not lost: it is missing in what is accounted for until it is found.

v1 counts nanoseconds, and IO is whole bytes. v2 shows whole microseconds of CPU time, of which one may be
hidden for each group that works. What a group's own processes use is nobody's below it: where it has some
that work, all below it is read. The root is no such group: it is never at rest, and v2 has its figures from
elsewhere.
"""

from __future__ import annotations

from typing import TypeAlias

from joulebook.agent.workloads.column import FileColumn

# So many readings in a row that found nothing, and a group is one of those that rest.
_IDLE_READINGS = 2


class Loose:
    """Columns and gates that nothing speaks for: all are read at each tick."""

    def __init__(self, moved: list[Child]) -> None:
        """moved takes up what is found to have grown."""
        self._moved = moved
        self._children: dict[Child, None] = {}

    def add(self, child: Child, _counted: bool = True, /) -> None:
        """Have it read from now on."""
        self._children[child] = None

    def drop(self, child: Child) -> None:
        """Have it read no longer."""
        self._children.pop(child, None)

    def children(self) -> list[Child]:
        """Return all that are read."""
        return list(self._children)

    def read(self) -> None:
        """Read all, from outside in."""
        self._moved += [child for child in self._children if child.read()]


class Gate:
    """A group whose own figure speaks for those below it: they are counted, or lie within one that is."""

    def __init__(self, column: FileColumn, moved: list[Child]) -> None:
        """Take the group's own figure; moved takes up what below it is found to have grown."""
        self.column = column
        self._moved = moved
        # Those that ran lately, and how many readings ago; all others, the last one that ran at the end.
        self._hot: dict[Child, int] = {}
        self._cold: dict[Child, None] = {}
        self._within: dict[Child, None] = {}
        self._inner: dict[Gate, None] = {}
        # How much of the group's figure is accounted for, never too much; not known before all were read.
        self._seen = 0
        self._known = False
        # Something may be hidden since the last tick, here or below an inner gate.
        self._late = False
        self._late_below = False
        self._rests = False

    def add(self, child: Child, counted: bool, /) -> None:
        """Speak for a column or a gate. counted: no other that is counted holds it."""
        if isinstance(child, Gate):
            self._inner[child] = None
        self._rests = False
        if counted:
            self._hot[child] = 0
        else:
            self._within[child] = None

    def drop(self, child: Child) -> None:
        """Speak for it no longer."""
        if isinstance(child, Gate):
            self._inner.pop(child, None)
        self._hot.pop(child, None)
        self._cold.pop(child, None)
        self._within.pop(child, None)

    def children(self) -> list[Child]:
        """Return all that it speaks for."""
        return [*self._hot, *self._cold, *self._within]

    @property
    def in_doubt(self) -> bool:
        """Say whether anything below may have used something that its columns do not show yet."""
        # What it was found to have grown by is accounted for above it: there nothing is missing any more.
        return self._late or self._late_below or self.column.figure > self._seen

    def forget(self) -> None:
        """Take nothing to be accounted for: all will be read."""
        self._known = False

    def renew(self) -> None:
        """Follow the group's path to another group, if there is another now."""
        if self.column.renew():
            self.forget()

    def close(self) -> None:
        """Give the descriptor back."""
        self.column.close()

    def read(self) -> int:
        """Read the group, and those below it that may have used anything; return how much it grew."""
        before = self.column.figure
        self._read_own()
        total = self.column.figure
        if self._known and total <= self._seen and not self._late_below:
            self._late = False
            self.rest()
            return total - before
        self._rests = False
        self._read_hot()
        if not (self._known and self._seen >= total and self._cold):
            self._search(total)
        if self._cold and self._known:
            self._make_sure(total)
        self._moved += [child for child in self._within if child.read()]
        self._late_below = any(gate.in_doubt for gate in self._inner)
        return self.column.figure - before

    def rest(self) -> None:
        """Have those below show that they used nothing."""
        if not self._rests:
            self._rests = True
            for child in (*self._hot, *self._within):
                child.rest()

    def _read_own(self) -> None:
        if self.column.read() < 0:
            self._known = False
        if self.column.gone:
            self.renew()
            self._known = False

    def _read_hot(self) -> None:
        cooled = []
        # Where all work this is all that there is to be done, so it calls nothing but what reads.
        hot, seen, moved = self._hot, self._seen, self._moved.append
        for child, readings in hot.items():
            if (grown := child.read()) > 0:
                seen += grown
                moved(child)
                if readings:
                    hot[child] = 0
            elif grown < 0:
                # Somebody wrote to the counter, or a disk was unplugged.
                self._known = False
            elif readings + 1 < _IDLE_READINGS:
                hot[child] = readings + 1
            else:
                cooled.append(child)
        self._seen = seen
        for child in cooled:
            del hot[child]
            self._cold[child] = None

    def _search(self, total: int, *, through: bool = False) -> None:
        """Read those that rest until the group's figure is accounted for, or all of them."""
        found = []
        for child in reversed(self._cold):
            if grown := child.read():
                found.append(child)
                self._seen += max(grown, 0)
                self._known &= grown > 0
                self._moved.append(child)
                if self._known and self._seen >= total and not through:
                    break
        else:
            # Nobody below has anything left from before the group was read.
            self._seen = max(self._seen, total) if self._known else total
            self._known, self._late = True, False
        for child in found:
            del self._cold[child]
            self._hot[child] = 0

    def _make_sure(self, total: int) -> None:
        """Look whether anything may be hidden that was used before the group was read."""
        self._read_own()
        if self.column.figure <= self._seen:
            self._late = False
        elif self._late:
            self._search(total, through=True)
        else:
            self._late = True


Child: TypeAlias = FileColumn | Gate
