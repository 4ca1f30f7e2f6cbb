"""Calls into a driver that may hang, in a thread of their own: whoever asks waits so long and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_JOIN_S = 1.0


class BlockedError(OSError):
    """The driver has not come back yet from this call or the one before it."""

    fix = "look into the kernel's log; a driver that hangs needs its device reset, or a reboot"


class Pending(Generic[T]):
    """A call that was begun."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._began_s = time.monotonic()
        self._done = threading.Event()
        self._value: list[T] = []
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Say whether the driver has come back."""
        return self._done.is_set()

    def wait(self, wait_s: float) -> bool:
        """Wait for the driver to come back, so long at most; say whether it did."""
        return self._done.wait(wait_s)

    def blocked(self) -> BlockedError:
        """Return the error that says how long the driver has been away."""
        return BlockedError(f"the driver has not answered for {time.monotonic() - self._began_s:.1f} s")

    def run(self) -> None:
        """Call, in the thread; what it raises is raised again where the result is asked for."""
        try:
            self._value.append(self._call())
        except Exception as error:
            self._error = error
        self._done.set()

    def result(self, wait_s: float) -> T:
        """Return what the call gave, or raise what it raised; BlockedError where that takes too long."""
        if not self._done.wait(wait_s):
            raise self.blocked()
        if self._error is not None:
            raise self._error
        return self._value[0]


class Aside:
    """One thread, begun with the first call; one call at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Pending[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Pending[Any] | None = None

    def begin(self, call: Callable[[], T]) -> Pending[T]:
        """Begin a call. BlockedError: the one before has not come back."""
        if self._last is not None and not self._last.done:
            raise self._last.blocked()
        if self._thread is None:
            # A daemon: a driver that hangs must not keep the agent from ending.
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        pending = Pending(call)
        self._last = pending
        self._calls.put(pending)
        return pending

    def close(self) -> bool:
        """End the thread; say whether the driver let it."""
        if self._thread is None:
            return True
        self._calls.put(None)
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while (pending := self._calls.get()) is not None:
            pending.run()
