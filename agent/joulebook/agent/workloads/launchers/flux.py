"""Flux's jobs where it does not give them cgroups: without sdexec they stand in their broker's.

Variables: https://flux-framework.readthedocs.io/projects/flux-core, flux-environment(7), Job environment. A
task is what flux-shell started; an instance within a job is part of that job, as its broker is a task.
"""

import re

from joulebook.agent.workloads import flux
from joulebook.agent.workloads.launchers.claim import Claim, Here, first_started
from joulebook.agent.workloads.launchers.process import Process

SOURCE = flux.SOURCE
_SHELLS = frozenset(("flux-shell",))
_ID = re.compile(rf"(?:[fƒ])(?P<id>{flux.BASE_58})\Z")


def recognise(process: Process, here: Here) -> Claim | None:  # noqa: ARG001  (as every launcher's)
    """Tell a task by its job's id, as the shell above it gave it; who merely has the variable is none."""
    found = _ID.match(process.told.get("FLUX_JOB_ID", ""))
    shell = first_started(process, _SHELLS) if found else ()
    return Claim(f"flux.f{found['id']}", SOURCE, also=shell) if found and shell else None
