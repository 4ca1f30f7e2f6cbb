"""Looks at who uses GPUs whose driver may hang: in the thread that may hang, never awaited for long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from joulebook.agent.meters.row import Job, Moment, Rows

# Listing processes takes locks that the work on the GPU may need: half a per cent of the time at most.
_PAUSE_FACTOR = 200


class Runs(Protocol):
    """A GPU that tells its processes; look is what it is asked by."""

    look: Callable[[int], dict[int, int]]

    def running(self, now_us: int) -> dict[int, int]:
        """Return the processes and their shares in ppm. OSError: the driver does not tell."""


class Looked(Protocol):
    """A member of a row."""

    def ask(self, moment: Moment) -> None:
        """Ask for its energy."""

    @property
    def gpu(self) -> Runs:
        """Return its GPU."""


K = TypeVar("K", bound=Looked)


class Looks(Generic[K]):
    """The processes of each GPU, all asked for together, from then on in the thread of their row.

    An answer that is late is given at the next look; until there is one, the last one stands.
    """

    def __init__(self, meters: Sequence[K], rows: Rows[K]) -> None:
        self.wait_s = 0.0
        # Who is asked for the energy with the looks of a moment, so that the thread is woken once for both.
        self._energy_us = -1
        self._energy: list[Job[K]] = []
        self._meters = meters
        self._rows = rows
        self._asked_us = self._due_us = -(1 << 62)
        # Those whose answer was not given since they were asked.
        self._untold: set[K] = set()
        self._newest: dict[K, dict[int, int] | OSError] = {}
        for meter in meters:
            meter.gpu.look = partial(self.of, meter)

    def of(self, meter: K, now_us: int) -> dict[int, int]:
        """Return a GPU's processes; none before the first answer. BlockedError: the driver hangs."""
        if now_us >= self._due_us and (now_us != self._asked_us or meter not in self._untold):
            self._asked_us = now_us
            self._untold = set(self._meters)
            self._ask(Moment(now_us))
        self._untold.discard(meter)
        if self._rows.hangs(meter):
            raise self._rows.blocked(meter)
        answer = self._newest.get(meter, {})
        if isinstance(answer, OSError):
            raise answer
        return answer

    def energy(self, now_us: int) -> list[Job[K]]:
        """Return what has begun to ask for the energy of this moment, once; nothing: nobody was asked."""
        jobs, self._energy = self._energy, []
        return jobs if now_us == self._energy_us else []

    def _ask(self, moment: Moment) -> None:
        def ask(member: K) -> None:
            try:
                self._newest[member] = member.gpu.running(moment.now_us)
            except OSError as error:
                self._newest[member] = error
            # Of what came within the tick's wait, who asks keeps the pause.
            took_us = moment.us() - moment.now_us
            if took_us > self.wait_s * 1e6:
                self._due_us = moment.now_us + took_us * _PAUSE_FACTOR

        # First, as processes may take the driver long.
        self._energy, looks = self._rows.begin(lambda member: member.ask(moment), ask)
        self._energy_us = moment.now_us
        self._rows.wait(looks, self.wait_s)
