"""Reports that no collector has acknowledged yet."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from joulebook.v1 import report_pb2

Key = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A Report and the Layout that it was cut by, serialised."""

    report: report_pb2.Report
    layout: bytes

    @property
    def key(self) -> Key:
        """Return (boot, sequence)."""
        return self.report.boot, self.report.sequence


class Outbox(Protocol):
    """Keeps Reports until they are acknowledged. put() may be called from another thread than the rest."""

    def put(self, entry: Entry) -> None:
        """Take a Report in."""

    def pending(self) -> list[Entry]:
        """Return what is not acknowledged, oldest first."""

    def get(self, key: Key) -> Entry | None:
        """Return a Report that is not acknowledged."""

    def remove(self, key: Key) -> None:
        """Forget a Report: it is durable at a collector, or refused for good."""

    def __len__(self) -> int:
        """Count what is not acknowledged."""


class MemoryOutbox:
    """An Outbox in memory: what it holds is lost with the agent.

    When it is full the oldest Report goes. Its energy is not lost to the books: the counters before and after
    it tell how much passed, and the collector books that to `unattributed`.
    """

    def __init__(self, size: int, changed: Callable[[], None] = lambda: None) -> None:
        self._size = size
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._changed = changed
        self.dropped = 0

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have changed called, from put()'s thread, whenever something was put in."""
        self._changed = changed

    def put(self, entry: Entry) -> None:
        """Take a Report in."""
        with self._lock:
            self._entries[entry.key] = entry
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
                self.dropped += 1
        self._changed()

    def pending(self) -> list[Entry]:
        """Return what is not acknowledged, oldest first."""
        with self._lock:
            return list(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        """Return a Report that is not acknowledged."""
        with self._lock:
            return self._entries.get(key)

    def remove(self, key: Key) -> None:
        """Forget a Report: it is durable at a collector, or refused for good."""
        with self._lock:
            self._entries.pop(key, None)

    def __len__(self) -> int:
        """Count what is not acknowledged."""
        with self._lock:
            return len(self._entries)
