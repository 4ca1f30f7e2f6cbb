"""How fast something may be done: a token bucket."""

import time
from collections.abc import Callable

# A shorter wait is none: added to a clock that has run for long it might change nothing.
_LEAST_S = 1e-6


class Pace:
    """Lets through so many a second, and as many as burst at once after a rest."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._tokens = float(burst)
        self._at_s = clock()

    def wait_s(self) -> float:
        """Return how long until the next one may be; 0: now."""
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        wait_s = (1 - self._tokens) / self._per_s
        return wait_s if wait_s > _LEAST_S else 0.0

    def take(self) -> None:
        """Count one that was done."""
        self._tokens -= 1
