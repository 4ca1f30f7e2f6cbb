"""What the rules are called. The configuration reads this too, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

GPU_HELD_IDLE = "gpu_held_idle"
CPU_HELD_IDLE = "cpu_held_idle"
NODE_UNALLOCATED = "node_unallocated"
AGENT_SILENT = "agent_silent"
SOURCE_SUSPECT = "source_suspect"
RESIDUAL_NOT_ZERO = "residual_not_zero"
NAMES = (GPU_HELD_IDLE, CPU_HELD_IDLE, NODE_UNALLOCATED, AGENT_SILENT, SOURCE_SUSPECT, RESIDUAL_NOT_ZERO)


def unknown(disabled: Sequence[str]) -> list[str]:
    """Return what is wrong with names of rules, one line each."""
    return [
        f"{name!r}: expected a rule{_near(name)}; there are {', '.join(NAMES)}"
        for name in disabled
        if name not in NAMES
    ]


def _near(name: str) -> str:
    near = get_close_matches(name, NAMES, n=1)
    return f", such as {near[0]!r}" if near else ""
