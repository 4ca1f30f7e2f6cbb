"""An energy counter beside the power that the same device shows: one of them may be wrong, or stand still."""

from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.health import WHOLLY_OFF_PPM

# Long beside a gauge's averaging window; counter and gauge of a healthy GPU differ by a few per cent then.
_WINDOW_US = 60_000_000
_MOST_APART = 3
_LEAST_POWER_MW = 1000


class CrossCheck:
    """Compares both over windows. suspicion says how far apart they were in the last one; "": they agree.

    off_ppm is that in parts of what the counter showed, at most all of it.
    """

    def __init__(self, counter: EnergyCounter) -> None:
        self._counter = counter
        self._power = PowerIntegral(counter.limit_mw)
        self._began_us = -1
        self._began = (0, 0)
        self.suspicion = ""
        self.off_ppm = 0

    def update(self, power_mw: int, now_us: int) -> None:
        """Take the gauge's reading of the moment at which the counter was read."""
        counter, power = self._counter, self._power
        power.update(power_mw, now_us)
        if self._began_us < 0 or power.missing:
            self._begin(now_us)
            return
        elapsed_us = now_us - self._began_us
        if elapsed_us < _WINDOW_US:
            return
        counted_uj, drawn_uj = counter.energy_uj - self._began[0], power.energy_uj - self._began[1]
        apart_uj = abs(counted_uj - drawn_uj)
        # mW · µs are nJ.
        matters = apart_uj * 1000 > _LEAST_POWER_MW * elapsed_us
        self.suspicion, self.off_ppm = "", 0
        if matters and apart_uj * _MOST_APART > drawn_uj:
            self.off_ppm = min(WHOLLY_OFF_PPM, apart_uj * 1_000_000 // max(counted_uj, 1))
            seconds = elapsed_us // 1_000_000
            self.suspicion = (
                f"the counter shows {counted_uj // 1_000_000} J, the power {drawn_uj // 1_000_000} J "
                f"over {seconds} s"
            )
        self._begin(now_us)

    def miss(self) -> None:
        """Begin anew with the next reading: the gauge tells nothing of a gap."""
        self._began_us = -1

    def _begin(self, now_us: int) -> None:
        self._began_us = now_us
        self._began = (self._counter.energy_uj, self._power.energy_uj)
