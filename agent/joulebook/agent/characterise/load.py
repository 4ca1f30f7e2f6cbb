"""A square wave of load: processes that spin, or a command, stopped and continued by signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable

# Last in the order of things, so that whoever measures is run at once.
_SPIN = "import os\nos.nice(19)\nwhile True: pass"
# A command loads libraries and fills memory before it is what is wanted.
_WARM_UP_S = 10.0


class LoadEndedError(RuntimeError):
    """The command of a load ended while it was needed."""


class SquareLoad:
    """Spins on as many CPUs while it is high, or has a command run then. Ends its processes with the block.

    A command runs in a shell, in a process group of its own: it and its children are stopped while the load
    is low. What a GPU was given before, it goes on with. LoadEndedError: the command ended by itself.
    """

    def __init__(
        self, cpus: int, clock: Callable[[], int], command: str = "", warm_up_s: float = _WARM_UP_S
    ) -> None:
        self.rises_us: list[int] = []
        self.falls_us: list[int] = []
        self._clock = clock
        self._command, self._warm_up_s = command, warm_up_s
        spin = [sys.executable, "-S", "-c", _SPIN]
        self._commands = [["/bin/sh", "-c", command]] if command else [spin] * cpus
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def is_of_cpus(self) -> bool:
        """Say whether CPUs are what is loaded, and nothing else."""
        return not self._command

    def __enter__(self) -> SquareLoad:
        for command in self._commands:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )
            self._processes.append(process)
        try:
            if self._command:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._processes[0].wait(self._warm_up_s)
            self._signal(signal.SIGSTOP)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            # Of a command that ended children may be left.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def turn(self, *, high: bool) -> None:
        """Go up or down, and note when."""
        self._signal(signal.SIGCONT if high else signal.SIGSTOP)
        (self.rises_us if high else self.falls_us).append(self._clock())

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise LoadEndedError(
                    f"--load {self._command!r} ended with status {process.returncode}: expected a command "
                    "that runs until it is stopped; repeat it, as by 'while ./kernel; do :; done'"
                )
            os.killpg(process.pid, number)
