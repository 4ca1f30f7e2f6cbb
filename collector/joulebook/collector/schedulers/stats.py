"""How asking a scheduler goes, for /metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SchedulerStats:
    """Counts since the collector began; working is None before the first answer, or where nobody is asked."""

    scheduler: str = "slurm"
    working: bool | None = None
    questions: int = 0
    failures: int = 0
    told_jobs: int = 0
