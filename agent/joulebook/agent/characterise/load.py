"""A square wave of CPU load: processes that spin, stopped and continued by signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

# Last in the order of things, so that whoever measures is run at once.
_SPIN = "import os\nos.nice(19)\nwhile True: pass"


class SquareLoad:
    """Spins on as many CPUs while it is high. Ends its processes with the block."""

    def __init__(self, cpus: int, clock: Callable[[], int]) -> None:
        self.rises_us: list[int] = []
        self.falls_us: list[int] = []
        self._clock = clock
        self._cpus = cpus
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SquareLoad:
        for _ in range(self._cpus):
            process = subprocess.Popen([sys.executable, "-S", "-c", _SPIN], stdin=subprocess.DEVNULL)
            self._processes.append(process)
            process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def turn(self, *, high: bool) -> None:
        """Go up or down, and note when."""
        number = signal.SIGCONT if high else signal.SIGSTOP
        for process in self._processes:
            process.send_signal(number)
        (self.rises_us if high else self.falls_us).append(self._clock())
