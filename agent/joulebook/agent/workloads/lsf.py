"""IBM Spectrum LSF's jobs by the cgroups that it makes for process tracking and limits.

Layout: /lsf/CLUSTER/job.JOBID.PID.TIME in every hierarchy that it uses, within a slice or not; JOBID of an
array's element is NUMBER[INDEX], or the NUMBER alone, and its tasks know the index.
"""

import re
from collections.abc import Mapping

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "lsf"

_JOB = re.compile(r"job\.(?P<number>[0-9]+(?:\[[0-9]+\])?)(?:\.[0-9]+)*\Z")
_ID = re.compile(r"lsf\.(?P<number>[0-9]+)\Z")


def recognise(place: Place) -> Verdict | None:
    """Tell LSF's jobs and what holds them; None for everything else."""
    parts = place.parts
    top = next((n for n, part in enumerate(parts) if not part.endswith(".slice")), len(parts))
    match parts[top:]:
        case ["lsf"] | ["lsf", _]:
            return DESCEND
        case ["lsf", _, job] if found := _JOB.match(job):
            return Verdict(Workload(f"lsf.{found['number']}", JOB, SOURCE))
        case ["lsf", *_]:
            return IGNORE
    return None


def identify(workload_id: str, told: Mapping[str, str]) -> str:
    """Return a job's id with the index that a task of it tells; as it was where there is none."""
    index = told.get("LSB_JOBINDEX", "")
    named = _ID.match(workload_id)
    if named is None or told.get("LSB_JOBID") != named["number"]:
        return workload_id
    whole = index.isascii() and index.isdecimal() and len(index) <= 9 and int(index) > 0
    return f"{workload_id}[{int(index)}]" if whole else workload_id
