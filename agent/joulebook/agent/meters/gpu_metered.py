"""A domain of a GPU: what is booked of it, and what its driver gave to ticks' questions, or gave late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, Protocol, TypeVar

from joulebook.agent.aside import BlockedError
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import Domain

A = TypeVar("A")


class Booked(Protocol):
    """Energy and unread time that never fall, of a counter or a power."""

    @property
    def energy_uj(self) -> int:
        """Return the energy so far."""

    @property
    def unread_us(self) -> int:
        """Return the time without a believable reading."""

    @property
    def offset_uj(self) -> int:
        """Return energy_uj less the hardware counter; 0 where there is none."""

    @property
    def variance_nj2(self) -> int:
        """Return how far off the energy may be by being read at moments."""

    @property
    def now_us(self) -> int:
        """Return up to when it is known."""

    def begin(self, now_us: int) -> None:
        """Have the series begin at 0, where the first reading is still to come."""

    def miss(self, now_us: int) -> None:
        """Note that nothing could be read."""


class Metered(ABC, Generic[A]):
    """One domain. look() is called in the thread that may hang, the rest where ticks are taken."""

    domain: Domain
    energy: Booked
    health: Health

    def __init__(self) -> None:
        # What the driver gave last instead of a reading, if it did.
        self.error: OSError | None = None
        self.is_waiting = False
        # What the driver gave, the tick that asked, and when it came on that clock.
        self._came: deque[tuple[A | OSError | ValueError, int, int]] = deque()

    @property
    def distrust(self) -> str:
        """Return why its counter is not booked any more; "": it is, or there never was one."""
        return ""

    @abstractmethod
    def look(self, moment: Moment) -> A:
        """Ask the driver. OSError, ValueError: it does not tell."""

    @abstractmethod
    def take(self, answer: A, now_us: int) -> None:
        """Book an answer."""

    @abstractmethod
    def miss(self, error: OSError | ValueError, now_us: int) -> None:
        """Note that nothing could be had."""

    def ask(self, moment: Moment) -> None:
        """Ask the driver, and keep what it gives for the next settle()."""
        try:
            answer: A | OSError | ValueError = self.look(moment)
        except (OSError, ValueError) as error:
            answer = error
        self._came.append((answer, moment.now_us, moment.us()))

    def settle(self, now_us: int, blocked: BlockedError | None) -> None:
        """Book what came. Until a late answer comes, what was shown stands; blocked: the driver hangs here.

        A late answer counts at the time at which it came: what a counter counted meanwhile is in the next
        one, so nothing is lost.
        """
        came = self._came
        self.is_waiting = not came and blocked is None
        if self.is_waiting:
            self.energy.begin(now_us)
        elif not came and blocked is not None:
            self.miss(blocked, now_us)
        while came:
            answer, asked_us, came_us = came.popleft()
            at_us = max(now_us if asked_us == now_us else min(came_us, now_us), self.energy.now_us)
            if isinstance(answer, (OSError, ValueError)):
                self.miss(answer, at_us)
            else:
                self.take(answer, at_us)
