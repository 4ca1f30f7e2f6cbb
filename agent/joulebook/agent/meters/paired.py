"""An energy counter and the power of the same device: the counter is booked while the power bears it out."""

from __future__ import annotations

from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.crosscheck import CrossCheck


class PairedEnergy:
    """Energy that never falls, of a counter, and of the power from when the counter was found wrong.

    Some AMD GPUs have a counter that stands still, or shows what no GPU draws: once it was far from the power
    for a window it is not believed again. distrust says so.
    """

    def __init__(self, limit_mw: int, *, has_counter: bool) -> None:
        self.power = PowerIntegral(limit_mw)
        self.counter = EnergyCounter(limit_mw=limit_mw) if has_counter else None
        self.distrust = ""
        self._check = CrossCheck(self.counter) if self.counter is not None else None
        self._base = (0, 0)

    @property
    def booked(self) -> EnergyCounter | PowerIntegral:
        """Return what is booked."""
        return self.power if self.counter is None else self.counter

    @property
    def energy_uj(self) -> int:
        """Return the energy so far."""
        return self._base[0] + self.booked.energy_uj

    @property
    def unread_us(self) -> int:
        """Return the time without a believable reading."""
        return self._base[1] + self.booked.unread_us

    @property
    def offset_uj(self) -> int:
        """Return energy_uj less the hardware counter; 0 where the power is booked."""
        return 0 if self.counter is None else self._base[0] + self.counter.offset_uj

    @property
    def variance_nj2(self) -> int:
        """Return how far off the energy may be by being read at moments; 0 where a counter is booked."""
        return self.booked.variance_nj2

    @property
    def now_us(self) -> int:
        """Return up to when it is known."""
        return max(self.power.now_us, self.booked.now_us)

    def begin(self, now_us: int) -> None:
        """Have the series begin at 0, where the counter's first reading is still to come."""
        self.booked.begin(now_us)

    def update(self, counted_uj: int | None, power_mw: int | None, now_us: int) -> None:
        """Take what both show; None: it shows nothing."""
        if power_mw is None:
            self.power.miss(now_us)
        else:
            self.power.update(power_mw, now_us)
        if self.counter is None or self._check is None:
            return
        if counted_uj is None:
            self.counter.miss(now_us)
        else:
            self.counter.update(counted_uj, now_us)
        if counted_uj is None or power_mw is None:
            self._check.miss()
            return
        self._check.update(power_mw, now_us)
        if self._check.suspicion:
            self._leave(self._check.suspicion)

    def miss(self, now_us: int) -> None:
        """Note that nothing could be read."""
        self.update(None, None, now_us)

    def _leave(self, suspicion: str) -> None:
        energy_uj, unread_us = self.energy_uj, self.unread_us
        self.counter = self._check = None
        self._base = (energy_uj - self.power.energy_uj, unread_us - self.power.unread_us)
        self.distrust = f"{suspicion}: from here on the power is booked"
