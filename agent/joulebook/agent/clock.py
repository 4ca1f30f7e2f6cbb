"""The clock of all readings: µs since boot."""

import time


def boot_us() -> int:
    """Return µs since boot, time asleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
