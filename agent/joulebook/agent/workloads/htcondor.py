"""HTCondor's jobs by the cgroups that condor_starter makes, one for each slot that runs a job.

Layout: `BASE_CGROUP`, htcondor, and in it condor_EXECUTE_DIRECTORY_SLOT[@HOST], within a slice or not. The
same slot runs many jobs, one after the other: which one, the job's ad says, a file that _CONDOR_JOB_AD names.
https://htcondor.readthedocs.io/en/latest/users-manual/services-for-jobs.html
"""

import re
from typing import NamedTuple

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "htcondor"

_ROOT = "htcondor"
_SLOT = re.compile(r"condor_(?:.*_)?(?P<slot>slot[0-9]+(?:_[0-9]+)*(?:@[!-~]{1,200})?)\Z")
_PROVISIONAL = re.compile(r"htcondor\.slot[^.]")
_NUMBER = re.compile(rb"(ClusterId|ProcId|RequestCpus) = ([0-9]{1,9})\s*\Z", re.IGNORECASE)
_TEXT = re.compile(rb'(Owner|JobBatchName|Cmd) = "([^"\\]{1,255})"\s*\Z', re.IGNORECASE)
MAX_AD_BYTES = 1 << 18


class Ad(NamedTuple):
    """What a job's ad tells: its id, who it belongs to, its name, and CPUs, 0 where it says none."""

    id: str
    user: str
    name: str
    cpus: int


def recognise(place: Place) -> Verdict | None:
    """Tell the slots that run jobs and what holds them; None for everything else."""
    parts = place.parts
    top = next((n for n, part in enumerate(parts) if not part.endswith(".slice")), len(parts))
    match parts[top:]:
        case ["htcondor"]:
            return DESCEND
        case ["htcondor", slot] if found := _SLOT.match(slot):
            return Verdict(Workload(f"htcondor.{found['slot']}", JOB, SOURCE))
        case ["htcondor", *_]:
            return IGNORE
    return None


def is_provisional(workload_id: str) -> bool:
    """Say whether an id is a slot's, and not yet a job's."""
    return _PROVISIONAL.match(workload_id) is not None


def parse_ad(raw: bytes) -> Ad | None:
    """Return what a job's ad tells, `Name = value` a line; None where it tells no id."""
    found: dict[str, str] = {}
    for line in raw[:MAX_AD_BYTES].split(b"\n"):
        if known := _NUMBER.match(line) or _TEXT.match(line):
            found.setdefault(known[1].decode().lower(), known[2].decode(errors="replace"))
    if not {"clusterid", "procid"} <= found.keys():
        return None
    name = found.get("jobbatchname") or found.get("cmd", "").rpartition("/")[2]
    job = f"htcondor.{int(found['clusterid'])}.{int(found['procid'])}"
    return Ad(job, found.get("owner", ""), name, int(found.get("requestcpus", "0")))
