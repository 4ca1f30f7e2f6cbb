"""Which workload a cgroup is, by its path: the table of recognisers."""

import re
from dataclasses import replace

from joulebook.agent.workloads import (
    containers,
    flux,
    htcondor,
    kubernetes,
    libvirt,
    lsf,
    pbs,
    slurm,
    subtree,
    systemd,
)
from joulebook.agent.workloads.workload import IGNORE, Place, Recogniser, Verdict, told

_RUN = re.compile(r"joulebook-[0-9a-f]{16}\Z")


def recognise_run(place: Place) -> Verdict | None:
    """Tell the group of a `joulebook run`: it is announced on the run socket, not found."""
    return IGNORE if _RUN.match(place.parts[-1]) else None


# The first that knows a path decides.
RECOGNISERS: tuple[Recogniser, ...] = (
    recognise_run,
    subtree.recognise_configured,
    kubernetes.recognise,
    containers.recognise,
    slurm.recognise,
    pbs.recognise,
    lsf.recognise,
    htcondor.recognise,
    flux.recognise,
    libvirt.recognise,
    systemd.recognise,
    subtree.recognise_top,
)


def classify(place: Place) -> Verdict:
    """Return what the cgroup is and whether to look inside it."""
    verdict = next(verdict for recognise in RECOGNISERS if (verdict := recognise(place)) is not None)
    if verdict.workload is not None:
        verdict = replace(verdict, workload=told(verdict.workload))
    if not verdict.descend and subtree.leads_to_configured(place):
        return replace(verdict, descend=True)
    return verdict
