"""Kubernetes' pods by the cgroups of the kubelet: a pod is one account, whatever containers it has.

Layout: cgroupfs driver /kubepods/[CLASS/]podUID, systemd driver
/kubepods.slice/[kubepods-CLASS.slice/]kubepods[-CLASS]-podUID.slice with _ for -; either below a group of the
kubelet's own (--cgroup-root). A pod of a file has a hash for its UID.
"""

import re

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "kubernetes"

_ROOT = re.compile(r"(?:[\w-]+-)?kubepods(?:\.slice)?\Z")
_CLASS = re.compile(r"(?:(?:[\w-]+-)?kubepods-)?(?:burstable|besteffort|guaranteed)(?:\.slice)?\Z")
_UID = r"(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
_POD = re.compile(rf"(?:(?:[\w-]+-)?kubepods(?:-[a-z]+)?-)?pod{_UID}(?:\.slice)?\Z")


def recognise(place: Place) -> Verdict | None:
    """Tell pods and what holds them; None for everything else."""
    parts = place.parts
    root = next((n for n, part in enumerate(parts) if _ROOT.match(part)), len(parts))
    if root == len(parts) or root > 1:
        return None
    below = parts[root + 1 :]
    if any(map(_POD.match, below[:-1])):
        return IGNORE  # a container
    match below:
        case []:
            return DESCEND
        case [name] | [_, name] if pod := _POD.match(name):
            return Verdict(Workload(f"k8s.{pod['uid'].replace('_', '-')}", JOB, SOURCE))
        case [name] if _CLASS.match(name):
            return DESCEND
    return None
