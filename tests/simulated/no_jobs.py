"""A node that nothing runs on."""

from __future__ import annotations

from joulebook.agent.source import Series
from joulebook.agent.workloads.workload import Workload


class NoJobs:
    """What a sampler asks of workloads, where there are none."""

    workloads: tuple[Workload, ...] = ()
    series: tuple[Series, ...] = ()
    blocks: tuple[tuple[Series, ...], ...] = ()
    gpu_series: tuple[Series, ...] = ()
    unsure_us = 0

    def refresh(self, now_us: int) -> bool:
        """Find no change."""
        del now_us
        return False

    def read(self, now_us: int) -> list[int]:
        """Have no values."""
        del now_us
        return []

    def ended(self) -> list[tuple[str, int, int]]:
        """Have no ends."""
        return []
