"""Integrate a power gauge that is read more slowly than the node ticks."""

from joulebook.agent.meters.counter import DEFAULT_LIMIT_MW
from joulebook.agent.meters.sampled import Sampled


class HeldPower:
    """Hold the last level between two answers, so that every tick gets its energy; correct it afterwards.

    What is right is the trapezoid between two answers. Until the second one comes the first one's level is
    held, for hold_us at most; beyond, time is unread, and nothing is made up for it when answers come back.
    Where the level was held too high, energy_uj stands still until the trapezoid has caught up: it is the
    highest value that was ever shown, so it never falls, and is never ahead by more than was held.
    """

    __slots__ = (
        "_last_us",
        "_measured",
        "_power_mw",
        "_unread_us",
        "changed_us",
        "dropped",
        "energy_uj",
        "hold_us",
        "limit_mw",
        "missing",
        "now_us",
        "reason",
        "sampled",
        "unread_us",
    )

    def __init__(self, hold_us: int, limit_mw: int = 0, *, window_us: int = 0, period_us: int = 0) -> None:
        """window_us and period_us are the gauge's own, as Sampled takes them."""
        self.hold_us = hold_us
        self.sampled = Sampled(window_us=window_us, period_us=period_us)
        self.limit_mw = limit_mw or DEFAULT_LIMIT_MW
        self.energy_uj = 0
        self.unread_us = 0
        self.dropped = 0
        self.reason = ""
        self.missing = False
        self.now_us = -1
        self.changed_us = 0
        # Up to the last answer: energy in half nJ (two readings in mW times µs), and time without any.
        self._measured = 0
        self._unread_us = 0
        self._last_us = -1
        self._power_mw = 0

    @property
    def offset_uj(self) -> int:
        """Return 0: there is no hardware counter."""
        return 0

    @property
    def variance_nj2(self) -> int:
        """Return how far off the energy may be by being read at moments."""
        return self.sampled.variance_nj2

    @property
    def ahead_uj(self) -> int:
        """Return how much more was shown than the answers bear out."""
        return max(0, self.energy_uj - self._measured // 2000)

    def take(self, power_mw: int, taken_us: int) -> None:
        """Take an answer, with the time at which it held; advance() shows it."""
        if not 0 <= power_mw <= self.limit_mw:
            self.dropped += 1
            self.reason = f"reading {power_mw} mW is outside 0…{self.limit_mw} mW"
            return
        if self._last_us < 0:
            # Time runs from the first advance(); an answer from before it begins there.
            if self.now_us < 0:
                self.now_us = taken_us
            begun_us = self.now_us - self.unread_us
            self._unread_us = max(0, taken_us - begun_us)
            self._last_us, self._power_mw, self.changed_us = max(taken_us, begun_us), power_mw, taken_us
            return
        elapsed_us = taken_us - self._last_us
        if elapsed_us <= 0:
            return
        if elapsed_us <= self.hold_us:
            self._measured += (self._power_mw + power_mw) * elapsed_us
        else:
            self._measured += 2 * self._power_mw * self.hold_us
            self._unread_us += elapsed_us - self.hold_us
        change_mw = power_mw - self._power_mw
        self.sampled.take(change_mw, min(elapsed_us, self.hold_us), taken_us - self.changed_us)
        if change_mw:
            self.changed_us = taken_us
        self._last_us, self._power_mw = taken_us, power_mw

    def advance(self, now_us: int) -> None:
        """Show energy and unread time up to a tick."""
        if self.now_us < 0:
            self.now_us = now_us
        if self._last_us < 0:
            self.unread_us += now_us - self.now_us
            self.now_us = now_us
            # The first answer may take as long as a level may be held.
            self.missing = self.unread_us > self.hold_us
            return
        self.now_us = now_us
        since_us = max(0, now_us - self._last_us)
        held_us = min(since_us, self.hold_us)
        self.energy_uj = max(self.energy_uj, (self._measured + 2 * self._power_mw * held_us) // 2000)
        self.unread_us = max(self.unread_us, self._unread_us + since_us - held_us)
        self.missing = since_us > self.hold_us
