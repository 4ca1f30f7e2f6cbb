"""Follow an energy counter that is read more slowly than the node ticks."""

from joulebook.agent.meters.counter import EnergyCounter
from joulebook.agent.meters.crosscheck import CrossCheck


class HeldCounter:
    """Between two answers hold the power shown beside the counter; what the counter says afterwards is right.

    As HeldPower: energy_uj never falls, and stands still where the power was held too high until the counter
    has caught up. It begins at 0. A counter that goes apart from the power is suspect.
    """

    def __init__(self, hold_us: int, limit_mw: int = 0) -> None:
        self.hold_us = hold_us
        self.energy_uj = 0
        self.missing = False
        self._counter = EnergyCounter(limit_mw=limit_mw)
        self._check = CrossCheck(self._counter)
        self._begin_uj = -1
        self._power_mw = 0

    @property
    def unread_us(self) -> int:
        """Return the time whose energy was given up."""
        return self._counter.unread_us

    @property
    def dropped(self) -> int:
        """Return how many readings were not believed."""
        return self._counter.dropped

    @property
    def suspicion(self) -> str:
        """Say how far counter and power went apart; "": they agree."""
        return self._check.suspicion

    @property
    def off_ppm(self) -> int:
        """Return that in parts of what the counter showed."""
        return self._check.off_ppm

    def take(self, energy_uj: int, power_mw: int, taken_us: int) -> None:
        """Take an answer, with the time at which it held; advance() shows it."""
        self._counter.update(energy_uj, taken_us)
        if self._begin_uj < 0:
            self._begin_uj = self._counter.energy_uj
        self._check.update(power_mw, taken_us)
        self._power_mw = power_mw

    def advance(self, now_us: int) -> None:
        """Show energy up to a tick."""
        counter = self._counter
        if self._begin_uj < 0:
            self.missing = True
            counter.miss(now_us)
            return
        since_us = max(0, now_us - counter.read_us)
        self.missing = since_us > self.hold_us
        if self.missing:
            counter.miss(now_us)
            self._check.miss()
        # mW · µs are nJ.
        held_uj = self._power_mw * min(since_us, self.hold_us) // 1000
        self.energy_uj = max(self.energy_uj, counter.energy_uj - self._begin_uj + held_uj)
