"""What contains a process, where its application is to be booked apart from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from joulebook.agent.workloads.column import Member
from joulebook.agent.workloads.workload import JOB, Workload

# Whose jobs are users' sessions and plain containers; all others' are jobs as they are.
_OPEN = frozenset(("systemd", "libvirt", "docker", "podman", "containerd", "crio"))


@dataclass(frozen=True, slots=True)
class Place:
    """The group of the nearest workload around a process ("": there is none).

    is_job: a scheduler's job, a pod or the like. What runs there is part of it, and never a job of its own.
    in_run: a `joulebook run`, of which the same holds.
    """

    path: str
    is_job: bool = False
    in_run: bool = False


def place_in(path: str, members: Mapping[str, Member], run_groups: frozenset[str], *, in_run: bool) -> Place:
    """Return the place of a process in the group with this path; members: the groups that are workloads."""
    while path and path not in members:
        in_run |= path in run_groups
        path = path.rpartition("/")[0]
    return Place(path, path in members and is_closed(members[path].workload), in_run)


def is_closed(workload: Workload) -> bool:
    """Say whether applications in it are part of it: so in all jobs but sessions and plain containers."""
    return workload.kind == JOB and workload.source not in _OPEN
