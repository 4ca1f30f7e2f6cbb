"""Processes that say themselves what job they are: JOULEBOOK_JOB in their environment."""

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, shown
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "marked"


def recognise(process: Process, here: Here) -> Claim | None:  # noqa: ARG001  (as every launcher's)
    """Tell a marked process: the mark is the job on every node that has it."""
    mark = process.told.get("JOULEBOOK_JOB", "")
    return Claim(f"marked.{clean(mark)}", SOURCE, shown(mark)) if mark else None
