"""What a collector can be told of schedulers that it asks."""

from __future__ import annotations

from pathlib import Path

import msgspec


class SlurmConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [collector.slurm]: whether Slurm is asked about its jobs, and how."""

    # How often jobs are asked about, by squeue, and sacct where that no longer knows them; 0: never.
    period_s: float = 0.0
    # How long an answer is waited for.
    timeout_s: float = 20.0
    # The commands, by name or path; without sacct, what squeue has forgotten stays unknown.
    squeue: str = "squeue"
    sacct: str = "sacct"
    # The cluster's slurm.conf; empty: where Slurm looks by itself.
    slurm_conf: str = ""

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        if self.period_s and not 1 <= self.period_s <= 86_400:
            wrong.append(f"collector.slurm.period_s = {self.period_s}: expected 1 to 86400, or 0 for never")
        if not 0.1 <= self.timeout_s <= 3600:
            wrong.append(f"collector.slurm.timeout_s = {self.timeout_s}: expected 0.1 to 3600")
        if not self.squeue:
            wrong.append("collector.slurm.squeue = '': expected a command")
        if self.slurm_conf and not Path(self.slurm_conf).is_file():
            wrong.append(f"collector.slurm.slurm_conf = {self.slurm_conf!r}: no such file")
        return wrong
