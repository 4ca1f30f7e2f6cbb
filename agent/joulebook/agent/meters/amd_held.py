"""For how long AMD's firmware held a GPU back."""

from collections.abc import Sequence

from joulebook.agent.meters.amd_table import Residency


class HeldBack:
    """Time held back by power and by heat: of the time between looks, the share of the firmware's ticks."""

    __slots__ = ("_before", "_looked_us", "_us")

    def __init__(self) -> None:
        self._before: Residency | None = None
        self._looked_us = -1
        self._us = [0, 0]

    def take(self, found: Residency, now_us: int) -> Sequence[int]:
        """Take what the firmware counted; return µs held back by power and by heat so far."""
        before, self._before = self._before, found
        elapsed_us = now_us - self._looked_us if self._looked_us >= 0 else 0
        self._looked_us = now_us
        ticks = found.ticks - before.ticks if before is not None else 0
        if before is not None and ticks > 0:
            for place, name in enumerate(("power", "thermal")):
                held = getattr(found, name) - getattr(before, name)
                self._us[place] += elapsed_us * max(0, min(held, ticks)) // ticks
        return tuple(self._us)
