"""Gauges of memory, which are read in turns, and left unread while their sum shows that they stayed.

What a group holds is part of what holds it shows, but has no order beside it, and goes up and down. So a
gauge is left unread only while its group did not run, and what contains it, less what all gauges below it
showed last, is to the byte what it was when the gauge was read. Those of groups that ran are read before.
"""

from joulebook.agent.workloads.column import Column, FileColumn

# Memory changes slowly beside a tick: to read each gauge at every fifth saves two fifths of all reads.
TURNS = 5


class Turns:
    """Gauges that nothing speaks for: each is read in its turn."""

    def __init__(self) -> None:
        self._turn_of: dict[Column, int] = {}
        self.turns: list[dict[Column, None]] = [{} for _ in range(TURNS)]
        self._given = 0

    def add(self, gauge: Column, _counted: bool = True, /) -> None:
        """Give it a turn."""
        self._given += 1
        turn = self._turn_of[gauge] = self._given % TURNS
        self.turns[turn][gauge] = None

    def drop(self, gauge: Column) -> None:
        """Read it no longer."""
        if (turn := self._turn_of.pop(gauge, None)) is not None:
            del self.turns[turn][gauge]

    def look(self, gauge: Column) -> None:
        """Read one of them."""
        gauge.read()

    def read(self, turn: int) -> None:
        """Read those whose turn it is."""
        for gauge in self.turns[turn]:
            gauge.read()


class GaugeGate(Turns):
    """Gauges that lie below one group, whose own speaks for them."""

    def __init__(self, column: FileColumn) -> None:
        """Take the group's own gauge."""
        super().__init__()
        self.column = column
        self._shown: dict[Column, int] = {}
        self._sum = 0
        self._ran: dict[Column, None] = {}
        self._many_ran = False
        # What the group held beyond the sum when each turn was read; None: that is not known.
        self._beyond: list[int | None] = [None] * TURNS

    def add(self, gauge: Column, _counted: bool = True, /) -> None:
        """Give it a turn. What it shows joins the sum, so that others need not be read for it."""
        super().add(gauge)
        self._shown[gauge] = gauge.value
        self._sum += gauge.value

    def drop(self, gauge: Column) -> None:
        """Read it no longer."""
        super().drop(gauge)
        self._sum -= self._shown.pop(gauge, 0)
        self._ran.pop(gauge, None)

    def forget(self) -> None:
        """Take nothing to be known."""
        self._beyond = [None] * TURNS

    def renew(self) -> None:
        """Follow the group's path to another group, if there is another now."""
        if self.column.renew():
            self.forget()

    def close(self) -> None:
        """Give the descriptor back."""
        self.column.close()

    def note(self, gauge: Column) -> None:
        """Take it that the group of this gauge ran."""
        self._ran[gauge] = None

    def note_many(self) -> None:
        """Take it that any of the groups may have run."""
        self._many_ran = True

    def look(self, gauge: Column) -> None:
        """Read one of them."""
        gauge.read()
        self._sum += gauge.value - self._shown[gauge]
        self._shown[gauge] = gauge.value

    def read(self, turn: int) -> None:
        """Read those whose turn it is, unless nothing can have changed."""
        ran, self._ran = self._ran, {}
        if self._many_ran:
            # The sum is left as it is, and so the group's own seems to have changed until they are looked at.
            self._many_ran = False
            super().read(turn)
            self._beyond[turn] = None
            return
        for gauge in ran:
            self.look(gauge)
        self.column.read()
        if self.column.gone:
            self.renew()
        elif self.column.value - self._sum == self._beyond[turn]:
            return
        for gauge in self.turns[turn]:
            self.look(gauge)
        self._beyond[turn] = self.column.value - self._sum
