"""Who is asked about a scheduler's jobs, and which those are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from joulebook.collector.store.scheduled import Scheduled


class NoAnswerError(Exception):
    """Who gave no answer, and why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of scheduler: how logs call it, and its jobs in the books, whose `number` is its own of them.

    In the passing states a job in the books is soon in another one.
    """

    name: str
    job: re.Pattern[str]
    passing: frozenset[str] = frozenset()


# The second of two slurmd on a host that run the same job is booked as slurm.N.2.
SLURM = Kind("Slurm", re.compile(r"slurm\.(?P<number>[0-9]+)(?:\.[0-9]+)?\Z"))
KUBERNETES = Kind(
    "Kubernetes",
    re.compile(r"k8s\.(?P<number>[0-9a-f-]{32,36})(?:\.[0-9]+)?\Z"),
    frozenset(("Pending", "Unknown")),
)


class Source(Protocol):
    """Knows of jobs, by the numbers that their scheduler gave them."""

    # Of how many jobs it is asked at once at most.
    at_once: int

    async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        """Return what is known of jobs, by number; what nobody knows is left out. Raises NoAnswerError."""
