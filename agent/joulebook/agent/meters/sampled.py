"""How far off the integral of a power gauge may be because it is read at moments."""

from typing import TypedDict

# A gauge that is read seldom has few readings to learn from, and a tick ends long after the last of them.
_SELDOM_US = 1_000_000
# Of these the squares of changes are kept, as a mean that forgets within as many readings.
_READINGS = 8


class Declared(TypedDict, total=False):
    """What is declared of a gauge: over how long it averages, and how often it takes a new value."""

    window_us: int
    period_us: int


class Sampled:
    """Adds up what is not known between readings, as a variance in nJ².

    Between two readings that differ by d the power took another course than the trapezoid, by d for as long
    as the gauge does not tell when: the gap between the readings, the window that it averages over (what it
    shows may be of any moment in it), or the time since it changed last, as far as it may have stood still
    for that long (its update period). Half the square of that is the variance: exact for a power that is
    another at every reading, too much for one that changes seldom. Where readings are a second or more apart
    it is the whole square, and d at least what it was of late. What keeps step with the gauge's own blind
    time it does not show, and nobody can tell from its readings.
    """

    __slots__ = ("_usual_mw2", "period_us", "variance_nj2", "window_us")

    def __init__(self, *, window_us: int = 0, period_us: int = 0) -> None:
        """Take what is declared of the gauge."""
        self.window_us, self.period_us = window_us, period_us
        self.variance_nj2 = 0
        self._usual_mw2 = 0

    def take(self, change_mw: int, gap_us: int, still_us: int) -> None:
        """Take the difference of two readings, the time between them and since the last one that differed."""
        square_mw2 = change_mw**2
        if gap_us < _SELDOM_US:
            if change_mw:
                span_us = max(gap_us, self.window_us, min(still_us, self.period_us))
                self.variance_nj2 += span_us**2 * square_mw2 // 2
            return
        span_us = max(gap_us, self.window_us, min(still_us, self.period_us))
        self.variance_nj2 += span_us**2 * max(square_mw2, self._usual_mw2)
        self._usual_mw2 += (square_mw2 - self._usual_mw2) // _READINGS
