"""Slurm's states of jobs: https://slurm.schedmd.com/job_state_codes.html."""

from __future__ import annotations

# With an end: the end of others is when their time limit will be over.
_FINAL = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
) | {"REVOKED", "TIMEOUT"}


def is_final(state: str) -> bool:
    """Say whether a job in this state has ended."""
    return state in _FINAL
