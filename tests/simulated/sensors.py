"""Power sensors of known behaviour under loads of known energy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Protocol

MS = 1_000
S = 1_000_000


class Load(Protocol):
    """A load whose power is known at every moment."""

    def energy_nj(self, until_us: int) -> int:
        """Return the energy from 0 to a moment."""

    def mean_mw(self, begin_us: int, end_us: int) -> int:
        """Return the mean power between two moments."""

    def power_mw(self, at_us: int) -> int:
        """Return the power at a moment."""


@dataclass(frozen=True, slots=True)
class SquareWave:
    """A load that draws high_mw for the first half of each period and low_mw for the rest."""

    period_us: int
    low_mw: int
    high_mw: int
    phase_us: int = 0

    def energy_nj(self, until_us: int) -> int:
        """Return the energy from 0 to a moment, exactly: mW · µs are nJ."""
        return self._from_phase(until_us + self.phase_us) - self._from_phase(self.phase_us)

    def mean_mw(self, begin_us: int, end_us: int) -> int:
        """Return the mean power between two moments."""
        return (self.energy_nj(end_us) - self.energy_nj(begin_us)) // (end_us - begin_us)

    def power_mw(self, at_us: int) -> int:
        """Return the power at a moment."""
        is_high = (at_us + self.phase_us) % self.period_us < self.period_us // 2
        return self.high_mw if is_high else self.low_mw

    def _from_phase(self, at_us: int) -> int:
        whole, rest_us = divmod(at_us, self.period_us)
        half_us = self.period_us // 2
        high_us = whole * half_us + min(rest_us, half_us)
        return high_us * self.high_mw + (at_us - high_us) * self.low_mw


class WhiteNoise:
    """A load that draws something else every step_us, none of it foreseeable."""

    def __init__(self, rng: Random, step_us: int, low_mw: int, high_mw: int, length_us: int) -> None:
        self._step_us = step_us
        self._powers = [rng.randrange(low_mw, high_mw) for _ in range(length_us // step_us + 2)]
        self._energy_nj = [0, *accumulate(power * step_us for power in self._powers)]

    def energy_nj(self, until_us: int) -> int:
        """Return the energy from 0 to a moment."""
        whole, rest_us = divmod(until_us, self._step_us)
        return self._energy_nj[whole] + rest_us * self._powers[whole]

    def mean_mw(self, begin_us: int, end_us: int) -> int:
        """Return the mean power between two moments."""
        return (self.energy_nj(end_us) - self.energy_nj(begin_us)) // (end_us - begin_us)

    def power_mw(self, at_us: int) -> int:
        """Return the power at a moment."""
        return self._powers[at_us // self._step_us]


class UnevenWave:
    """A load that goes up and down at given moments, beginning low."""

    def __init__(self, edges_us: Sequence[int], low_mw: int, high_mw: int) -> None:
        self._edges_us = list(edges_us)
        self._low_mw, self._high_mw = low_mw, high_mw
        self._energy_nj = [self._edges_us[0] * low_mw]
        for number, (begin_us, end_us) in enumerate(pairwise(self._edges_us)):
            power_mw = low_mw if number % 2 else high_mw
            self._energy_nj.append(self._energy_nj[-1] + (end_us - begin_us) * power_mw)

    def energy_nj(self, until_us: int) -> int:
        """Return the energy from 0 to a moment."""
        place = bisect_right(self._edges_us, until_us) - 1
        if place < 0:
            return until_us * self._low_mw
        return self._energy_nj[place] + (until_us - self._edges_us[place]) * self.power_mw(until_us)

    def mean_mw(self, begin_us: int, end_us: int) -> int:
        """Return the mean power between two moments."""
        return (self.energy_nj(end_us) - self.energy_nj(begin_us)) // (end_us - begin_us)

    def power_mw(self, at_us: int) -> int:
        """Return the power at a moment."""
        return self._high_mw if bisect_right(self._edges_us, at_us) % 2 else self._low_mw


@dataclass(frozen=True, slots=True)
class Sensor:
    """Shows every period_us the mean of a load over the window_us before that, lag_us late.

    window_us of 0 is the momentary power; less than the period is a part-time sensor.
    """

    name: str
    period_us: int
    window_us: int
    lag_us: int = 0
    phase_us: int = 0

    def shows_mw(self, load: Load, at_us: int) -> int:
        """Return what it shows at a moment."""
        taken_us = at_us - (at_us - self.phase_us) % self.period_us - self.lag_us
        if not self.window_us:
            return load.power_mw(taken_us)
        return load.mean_mw(taken_us - self.window_us, taken_us)
