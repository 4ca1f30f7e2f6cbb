"""When a driver's library is begun again because GPUs do not answer."""

from __future__ import annotations

# Where no GPU answers the driver may have been loaded again; one that was lost and then reset may show up
# only when the library is begun again, and the others pause for that.
_ALL_US, _SOME_US, _MOST_US = 5_000_000, 60_000_000, 600_000_000


class Beginning:
    """Says when. Each time that it did not help for as long as was waited, the next is twice as far away."""

    def __init__(self) -> None:
        self._patience_us = _ALL_US
        # Since when a GPU has not answered, and since when all have; -1: that is not so.
        self._lost_us = self._well_us = -1

    def is_due(self, now_us: int, *, lost: bool, everything: bool) -> bool:
        """Say whether it is due, at every look; lost: a GPU does not answer, everything: none does."""
        if not lost:
            self._lost_us = -1
            if self._well_us < 0:
                self._well_us = now_us
            # A driver that fails soon after each beginning is not well.
            if now_us - self._well_us >= self._patience_us:
                self._patience_us = _ALL_US
            return False
        self._well_us = -1
        if self._lost_us < 0:
            self._lost_us = now_us
        if now_us - self._lost_us < max(self._patience_us, 0 if everything else _SOME_US):
            return False
        self._lost_us, self._patience_us = now_us, min(2 * self._patience_us, _MOST_US)
        return True
