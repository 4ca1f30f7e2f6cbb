"""Who is asked about a scheduler's jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from joulebook.collector.store.scheduled import Scheduled


class NoAnswerError(Exception):
    """Who gave no answer, and why."""


class Source(Protocol):
    """Knows of jobs."""

    # Of how many jobs it is asked at once at most.
    at_once: int

    async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        """Return what is known of jobs, by number; what nobody knows is left out. Raises NoAnswerError."""
