"""Counts that a device keeps and may begin again at 0."""

_HALF_32, _WHOLE_32 = 2**31, 2**32


class Growing:
    """A counter that never falls: one that wrapped at 32 bits, or began again, goes on."""

    __slots__ = ("_last", "value")

    def __init__(self) -> None:
        self.value = 0
        self._last = -1

    def update(self, raw: int) -> int:
        """Take what the device shows; return the count, which begins with the first reading."""
        if self._last < 0:
            self.value = raw
        elif raw >= self._last:
            self.value += raw - self._last
        elif _HALF_32 <= self._last < _WHOLE_32 and raw < _HALF_32:
            self.value += raw + _WHOLE_32 - self._last
        else:
            self.value += raw
        self._last = raw
        return self.value


class Accumulated:
    """A rate, looked at now and then, over time: what it amounts to so far."""

    __slots__ = ("_read_us", "value")

    def __init__(self) -> None:
        self.value = 0
        self._read_us = -1

    def update(self, a_second: float, now_us: int) -> int:
        """Take the rate since the last look; the first one begins at 0."""
        if self._read_us >= 0 and a_second > 0:
            self.value += int(a_second * (now_us - self._read_us) / 1e6)
        self._read_us = now_us
        return self.value
