"""Flux's jobs, where it runs them under systemd (`exec.service = "sdexec"`, cgroup v2).

Each is a unit of the user `flux`'s own manager: …/user@N.service/imp-shell-RANK-JOBID.service, the id in
Flux's base 58 (https://github.com/flux-framework/flux-core/issues/5901). Without sdexec processes tell
(launchers/flux.py).
"""

import re

from joulebook.agent.workloads.workload import JOB, Place, Verdict, Workload

SOURCE = "flux"

BASE_58 = "[1-9A-HJ-NP-Za-km-z]{1,12}"
_SHELL = re.compile(rf"imp-shell-[0-9]+-[fƒ](?P<id>{BASE_58})\.service\Z")
_MANAGER = re.compile(r"user@[0-9]+\.service\Z")


def recognise(place: Place) -> Verdict | None:
    """Tell Flux's jobs; None for everything else."""
    parts = place.parts
    if parts[0] != "user.slice" or not any(map(_MANAGER.match, parts[:-1])):
        return None
    if (found := _SHELL.match(parts[-1])) is None:
        return None
    return Verdict(Workload(f"flux.f{found['id']}", JOB, SOURCE))
