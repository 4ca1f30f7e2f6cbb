"""What the way in counts, for /metrics and the alarms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestStats:
    """Counters since this collector began, and how far the last check of the books was off."""

    reports: int = 0
    duplicates: int = 0
    samples: int = 0
    booked_uj: int = 0
    commits: int = 0
    failed_commits: int = 0
    # Lines that a database named as not taken.
    refused_lines: int = 0
    commit_us: int = 0
    streams: int = 0
    # By name of the gRPC status.
    refused: Counter[str] = field(default_factory=Counter)
    # When each node last sent a sound Report by this machine's clock, whether it could be booked or not.
    heard_us: dict[str, int] = field(default_factory=dict)
    # Sum of the absolute differences; above 0 the ledger is broken.
    residual_uj: int = 0
