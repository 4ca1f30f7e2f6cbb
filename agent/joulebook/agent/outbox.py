"""Reports that no collector has acknowledged yet, as the uplink sees them."""

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
    """Keeps Reports until they are acknowledged. put() may be called from another thread than the rest.

    A Report is handed out once, by next_live() or next_kept(), until rewind() offers it again.
    """

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have changed called, from any thread, whenever there is more to hand out."""

    def put(self, entry: Entry) -> None:
        """Take a Report in."""

    def next_live(self) -> Entry | None:
        """Hand out the oldest of the few newest Reports."""

    def next_kept(self) -> Entry | None:
        """Hand out the oldest Report of all."""

    def get(self, key: Key) -> Entry | None:
        """Return a Report that was handed out."""

    def remove(self, key: Key) -> None:
        """Forget a Report that was handed out: it is durable at a collector."""

    def refuse(self, key: Key) -> None:
        """Forget a Report that was handed out: no collector will ever take it."""

    def postpone(self, key: Key) -> None:
        """Take back a Report that is refused now; it is offered again some minutes later."""

    def rewind(self) -> None:
        """Take back everything that was handed out and not removed: it is offered again."""

    def __len__(self) -> int:
        """Count what is not acknowledged."""
