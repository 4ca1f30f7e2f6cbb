"""The energy accumulator of an AMD GPU: units of 2^-16 J, which some firmware counts in 32 bits."""

from __future__ import annotations

from fractions import Fraction

from joulebook.agent.meters.codes import UnsupportedError
from joulebook.agent.meters.counter import SLACK_US

# AMD SMI tells the unit as 15.259 µJ, or rounded to 15.3.
_UNIT_UJ = Fraction(15_625, 1024)
_UNIT_OFF = Fraction(1, 100)
_MOST_UNIT_UJ = 10**6
_HALF, _WHOLE = 2**31, 2**32


def unit_uj(resolution: float) -> Fraction:
    """Return what a unit is, exactly. UnsupportedError: no unit that a counter could have."""
    if not 0 < resolution < _MOST_UNIT_UJ:
        raise UnsupportedError(f"a counter of {resolution} µJ a unit")
    told = Fraction(resolution)
    return _UNIT_UJ if abs(told - _UNIT_UJ) <= _UNIT_UJ * _UNIT_OFF else told


class Accumulator:
    """Unwraps one. What fell otherwise than by a wrap is given as it is: who books it takes care of that."""

    __slots__ = ("_base", "_last", "_limit_mw", "_read_us")

    def __init__(self, limit_mw: int) -> None:
        """limit_mw: no wrap is assumed that would take more."""
        self._limit_mw = limit_mw
        self._base = 0
        self._last = -1
        self._read_us = 0

    def energy_uj(self, units: int, resolution: float, now_us: int) -> int:
        """Return the energy that units stand for. UnsupportedError: their size is absurd."""
        uj = unit_uj(resolution)
        if _HALF <= self._last < _WHOLE and units < _HALF:
            grown_nj = (units + _WHOLE - self._last) * uj * 1000
            # mW · µs are nJ.
            if grown_nj <= self._limit_mw * (now_us - self._read_us + SLACK_US):
                self._base += _WHOLE
        self._last, self._read_us = units, now_us
        return int((self._base + units) * uj)
