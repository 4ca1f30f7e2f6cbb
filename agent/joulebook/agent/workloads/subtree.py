"""Cgroups that nothing else recognises: a job each at the top, and wherever the configuration says."""

from fnmatch import fnmatchcase

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload


def recognise_configured(place: Place) -> Verdict | None:
    """Tell the cgroups that the configuration calls jobs."""
    return _job(place) if len(place.parts) in _matching_depths(place) else None


def recognise_top(place: Place) -> Verdict:
    """Tell a directory at the top of the hierarchy; what is inside it is part of it."""
    if leads_to_configured(place):
        return DESCEND
    return _job(place) if len(place.parts) == 1 else IGNORE


def leads_to_configured(place: Place) -> bool:
    """Say whether configured jobs may lie inside."""
    return any(depth > len(place.parts) for depth in _matching_depths(place))


def _matching_depths(place: Place) -> set[int]:
    # How deep those configured globs reach whose first components match the path's.
    globs = (glob.strip("/").split("/") for glob in place.job_cgroups)
    return {
        len(glob)
        for glob in globs
        if len(glob) >= len(place.parts) and all(map(fnmatchcase, place.parts, glob))
    }


def _job(place: Place) -> Verdict:
    name = ".".join(place.parts)
    return Verdict(Workload(f"cgroup.{name}", JOB, "cgroup", name))
