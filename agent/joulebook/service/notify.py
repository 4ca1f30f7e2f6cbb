"""Tell the service manager how we are, by the datagrams of sd_notify(3); no word where nobody asked."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

# We speak four times in the time after which the manager takes us for hung.
_SIGNS_A_WATCHDOG = 4


class Manager:
    """The service manager: systemd, or any that sets NOTIFY_SOCKET."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        # "@" stands for the zero byte of an abstract address.
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self.watchdog_s = self._asked_s(environ) if self._socket else 0.0
        self._due_s = 0.0

    @staticmethod
    def _asked_s(environ: Mapping[str, str]) -> float:
        pid = environ.get("WATCHDOG_PID", "")
        if pid and pid != str(os.getpid()):
            return 0.0
        asked_us = environ.get("WATCHDOG_USEC", "")
        return int(asked_us) / 1e6 if asked_us.isdigit() else 0.0

    def ready(self, status: str, *, sign_every_s: float = 0.0) -> None:
        """Say that we do our work now. Where we can give no sign more often, ask for as much patience."""
        lines = ["READY=1", f"STATUS={status}"]
        if 0 < self.watchdog_s < _SIGNS_A_WATCHDOG * sign_every_s:
            self.watchdog_s = _SIGNS_A_WATCHDOG * sign_every_s
            lines.append(f"WATCHDOG_USEC={round(self.watchdog_s * 1e6)}")
        self._tell(*lines)

    def alive(self, status: Callable[[], str]) -> None:
        """Give a sign of life where one is due. To be called from the loop that does the work."""
        if not self.watchdog_s or (now_s := self._clock()) < self._due_s:
            return
        self._due_s = now_s + self.watchdog_s / _SIGNS_A_WATCHDOG
        self._tell("WATCHDOG=1", f"STATUS={status()}")

    def stopping(self) -> None:
        """Say that we end, in order."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._socket is not None:
            self._socket.close()

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            # A manager that does not listen is no reason to stop measuring.
            _log.warning("service manager at %s: %s", self._address.replace("\0", "@"), error)
