"""What every keeper of alerts does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from joulebook.collector.alerts.alert import Alert


class AlertStoreError(Exception):
    """Alerts could not be read or kept; nothing of it was done."""


class AlertStore(Protocol):
    """Keeps alerts over restarts. Used from one thread at a time."""

    def load(self) -> list[Alert]:
        """Return all that is kept, newest first. Raises AlertStoreError."""

    def save(self, changed: Sequence[Alert], ended: Collection[str], forget_before_us: int) -> None:
        """Keep alerts as they are now, and drop those named by id and those resolved earlier, at once or not
        at all. Raises AlertStoreError.
        """

    def close(self) -> None:
        """Let go of it."""
