"""Slurm's jobs by the cgroups that slurmd gives them: a job is one account, whatever steps it has.

Layout: https://slurm.schedmd.com/cgroup_v1.html and cgroup_v2.html. v1: /slurm[_NODE]/uid_N/job_N/step_X;
v2: …slice/[NODE_]slurmstepd.scope/job_N/step_X. NODE is there where a host has several slurmd. From 26.05 on
a job's directory has its SLUID for a name, s and 13 letters of Crockford's base 32, and its tasks know its
number.
"""

import re
from collections.abc import Mapping

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "slurm"

_ROOT = re.compile(r"slurm(?:_.+)?\Z")
_USER = re.compile(r"uid_(?P<uid>[0-9]+)\Z")
_SCOPE = re.compile(r"(?:.+_)?slurmstepd\.scope\Z")
_SLUID = "s[0-9A-HJKMNP-TV-Z]{13}"
_JOB = re.compile(rf"(?:job_(?P<number>[0-9]+)|(?P<sluid>{_SLUID}))\Z")
_PROVISIONAL = re.compile(rf"slurm\.{_SLUID}(?:\.[0-9]+)?\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}\Z")
_PART_ID = "SLURM_JOB_ID_HET_GROUP_"
_PART_NAME = "SLURM_JOB_NAME_HET_GROUP_"
_OF_PARTS = re.compile(rf"(?:{_PART_ID}|{_PART_NAME})[0-9]{{1,4}}\Z")


def recognise(place: Place) -> Verdict | None:
    """Tell Slurm's jobs and what holds them; None for everything else."""
    parts = place.parts
    if _ROOT.match(parts[0]):
        return _below_root(place)
    scope = next((n for n, part in enumerate(parts) if not part.endswith(".slice")), len(parts))
    if scope == len(parts) or not _SCOPE.match(parts[scope]):
        return None
    if len(parts) == scope + 1:
        return DESCEND
    # Beside the jobs is the daemon's own group, which is the system's.
    return _job(parts[-1], "") if len(parts) == scope + 2 else IGNORE


def _below_root(place: Place) -> Verdict | None:
    match place.parts[1:]:
        case []:
            return DESCEND
        case [user] if _USER.match(user):
            return DESCEND
        case [user, job] if uid := _USER.match(user):
            return _job(job, place.user_name(int(uid["uid"])))
    return IGNORE


def _job(leaf: str, user: str) -> Verdict:
    if (job := _JOB.match(leaf)) is None:
        return IGNORE
    return Verdict(Workload(f"slurm.{job['number'] or job['sluid']}", JOB, SOURCE, user=user))


def is_provisional(workload_id: str) -> bool:
    """Say whether an id is a SLUID, and not yet a job's number."""
    return _PROVISIONAL.match(workload_id) is not None


def numbered(job_id: str) -> str:
    """Return the id of a job that its first task's SLURM_JOB_ID numbers; "" where it is no number."""
    return f"slurm.{job_id}" if _NUMBER.match(job_id) else ""


def is_of_parts(variable: str) -> bool:
    """Say whether a variable tells the number or the name of a part of a heterogeneous job."""
    return _OF_PARTS.match(variable) is not None


def part_name(said: Mapping[str, str], number: str) -> str | None:
    """Return the name of the part of a heterogeneous job that has a number, as tasks of all parts are told.

    None where it is no part. SLURM_JOB_ID is the first part's in all of them.
    """
    parts = (name.removeprefix(_PART_ID) for name, value in said.items() if value == number)
    return next((said.get(_PART_NAME + part, "") for part in parts if part.isdecimal()), None)
