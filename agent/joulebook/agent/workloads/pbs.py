"""PBS Professional's and OpenPBS's jobs by the cgroups that its cgroups hook gives them.

Layout: the hook's `cgroup_prefix` pbs_jobs, with systemd's suffix: v1 /pbs_jobs.service/jobid/JOB.SERVER, v2
/pbs_jobs.service/jobs/JOB.SERVER, the service within a slice or not. JOB of an array is NUMBER[INDEX].
"""

import re

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "pbs"

_SERVICE = re.compile(r"pbs(?:pro|_jobs)\.service\Z")
_HOLDERS = ("jobid", "jobs")
_JOB = re.compile(r"(?P<number>[0-9]+(?:\[[0-9]+\])?)(?:\..+)?\Z")


def recognise(place: Place) -> Verdict | None:
    """Tell PBS's jobs and what holds them; None for everything else."""
    parts = place.parts
    service = next((n for n, part in enumerate(parts) if not part.endswith(".slice")), len(parts))
    if service == len(parts) or not _SERVICE.match(parts[service]):
        return None
    match parts[service + 1 :]:
        case []:
            return DESCEND
        case [holder] if holder in _HOLDERS:
            return DESCEND
        case [holder, job] if holder in _HOLDERS and (found := _JOB.match(job)):
            return Verdict(Workload(f"pbs.{found['number']}", JOB, SOURCE))
    return IGNORE
