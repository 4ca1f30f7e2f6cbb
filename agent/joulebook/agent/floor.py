"""The idle floor of a domain, learnt as a robust lower envelope of its power."""

from collections import deque
from heapq import nsmallest

# Power is averaged over blocks of this length: shorter dips are noise.
_BLOCK_US = 10_000_000
_HOUR_US = 3_600_000_000
_HOURS = 24
# The envelope is the third lowest block of a day, so that two misread blocks cannot pull it down.
_RANK = 3


class IdleFloor:
    """Learns what a domain draws when nothing runs, from its energy counter.

    Until a block is full the lowest tick so far stands in. A day without an idle block lifts the floor: it is
    never above the least that was seen in the last 24 hours.
    """

    def __init__(self) -> None:
        self.power_mw = 0
        self._hours: deque[tuple[int, list[int]]] = deque(maxlen=_HOURS)
        self._block: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None

    def update(self, now_us: int, energy_uj: int) -> int:
        """Take a reading of the counter; return the floor in mW."""
        if self._last is None or self._block is None:
            self._block = self._last = (now_us, energy_uj)
            return self.power_mw
        if not self._hours:
            power_mw = (energy_uj - self._last[1]) * 1000 // max(now_us - self._last[0], 1)
            self.power_mw = power_mw if self.power_mw == 0 else min(self.power_mw, power_mw)
        self._last = (now_us, energy_uj)
        passed_us = now_us - self._block[0]
        if passed_us >= _BLOCK_US:
            self._learn(now_us, (energy_uj - self._block[1]) * 1000 // passed_us)
            self._block = self._last
        return self.power_mw

    def resume(self, now_us: int, energy_uj: int) -> int:
        """Go on from a reading that does not continue the last one; return the floor in mW."""
        self._block = self._last = (now_us, energy_uj)
        return self.power_mw

    def _learn(self, now_us: int, power_mw: int) -> None:
        hour = now_us // _HOUR_US
        if self._hours and self._hours[-1][0] == hour:
            lowest = self._hours[-1][1]
            lowest.append(power_mw)
            lowest[:] = nsmallest(_RANK, lowest)
        else:
            self._hours.append((hour, [power_mw]))
        envelope = nsmallest(_RANK, (p for _, blocks in self._hours for p in blocks))
        self.power_mw = envelope[-1]
