"""A node that nothing runs on."""

from __future__ import annotations

from joulebook.agent.source import Series
from joulebook.agent.workloads.workload import Workload


class NoJobs:
    """What a sampler asks of workloads, where there are none."""

    workloads: tuple[Workload, ...] = ()
    series: tuple[Series, ...] = ()
    blocks: tuple[tuple[Series, ...], ...] = ()
    pair_series: tuple[Series, ...] = ()
    unsure_us = 0

    def refresh(self, now_us: int) -> bool:
        """Find no change."""
        del now_us
        return False

    def read(self, now_us: int) -> list[int]:
        """Have no values."""
        del now_us
        return []

    def values(self) -> list[int]:
        """Have no values."""
        return []

    def first_moved(self) -> list[tuple[int, int]]:
        """Have nobody use a disk."""
        return []

    def know_domains(self, names: frozenset[str]) -> None:
        """Have nothing to tell of them."""

    def ended(self) -> list[tuple[str, int, int]]:
        """Have no ends."""
        return []
