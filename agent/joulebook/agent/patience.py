"""How long somebody waits for several things together."""

import time


class Patience:
    """So many seconds from now on, for all that is waited for one after another."""

    def __init__(self, seconds: float) -> None:
        self._until_s = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Return how long may still be waited; 0 where it is over."""
        return max(0.0, self._until_s - time.monotonic())
