"""How asking schedulers goes, for /metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class SchedulerStats:
    """Counts since the collector began; working is None before the first answer, or where nobody is asked."""

    scheduler: str = "slurm"
    working: bool | None = None
    questions: int = 0
    failures: int = 0
    told_jobs: int = 0


@dataclass(frozen=True, slots=True)
class AllStats:
    """Of every kind of scheduler."""

    slurm: SchedulerStats = field(default_factory=SchedulerStats)
    kubernetes: SchedulerStats = field(default_factory=lambda: SchedulerStats("kubernetes"))
