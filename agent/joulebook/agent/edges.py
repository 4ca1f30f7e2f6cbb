"""How much may be spent on the moments when jobs come and go."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of one CPU, and at once after a rest.
_SHARE = 0.01
_MOST_S = 0.05


class Edges:
    """CPU time to spend, which grows by a hundredth of the clock's: a large node's ticks take more of it."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock, self._cpu_clock = clock, cpu_clock
        self._left_s = _MOST_S
        self._at_s = clock()

    def may_be(self) -> bool:
        """Say whether there is anything left to spend."""
        now_s = self._clock()
        self._left_s = min(_MOST_S, self._left_s + (now_s - self._at_s) * _SHARE)
        self._at_s = now_s
        return self._left_s > 0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the CPU time that is used within."""
        began_s = self._cpu_clock()
        try:
            yield
        finally:
            self._left_s -= self._cpu_clock() - began_s
