"""MPI without a scheduler: Open MPI by where mpirun listens, MPICH and its kin by Hydra's proxy.

Seen with Open MPI 4.1 and MPICH 4.0 of Debian; Open MPI 5 by the name space that PRRTE's documentation gives.
"""

import re

from joulebook.agent.workloads.launchers.claim import (
    Claim,
    Here,
    clean,
    first_started,
    host_port,
    is_loopback,
)
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "mpi"
_STARTERS = frozenset(
    (
        *("mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "prte"),
        *(
            "mpirun.openmpi",
            "mpiexec.openmpi",
            "mpirun.mpich",
            "mpiexec.mpich",
            "mpiexec.hydra",
            "mpirun_rsh",
        ),
    )
)
_PROXIES = frozenset(("hydra_pmi_proxy", "hydra_bstrap_proxy", "pmi_proxy"))
# 266272768.0;tcp://192.0.2.2,10.0.0.2:53741;tcp6://…: the job family is the upper half of the number.
_HNP = re.compile(r"(?P<job>[0-9]+)\.[0-9]+;tcp6?://(?P<hosts>[^:;]+|\[[^]]+\]):(?P<port>[0-9]+)")
_PRTE = re.compile(r"(?P<name>prterun-.+|prte-.+)@[0-9]+\Z")


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell ranks and the daemons that start them."""
    uri = process.told.get("OMPI_MCA_orte_hnp_uri", "") or _argument_after(process, "orte_hnp_uri")
    if found := _HNP.search(uri):
        host = found["hosts"].partition(",")[0]
        place = here.host(host, process.pid) if is_loopback(host.strip("[]")) else host.strip("[]")
        return _claim(f"{place}:{found['port']}.{int(found['job']) >> 16}", process)
    if found := _PRTE.match(process.told.get("PMIX_NAMESPACE", "")):
        return _claim(found["name"], process)
    if not _PROXIES.intersection(process.programs):
        return None
    control = process.option("--control-port")
    if not control:
        control = f"{process.option('--upstream-host')}:{process.option('--upstream-port')}"
    control_at = host_port(control)
    if control_at is None:
        return None
    return _claim(f"{here.host(control_at[0], process.pid)}:{control_at[1]}", process)


def _claim(name: str, process: Process) -> Claim:
    return Claim(f"mpi.{clean(name)}", SOURCE, also=first_started(process, _STARTERS))


def _argument_after(process: Process, name: str) -> str:
    """Return what follows `-mca NAME` on the command line."""
    command = process.command
    return next((command[n + 1].strip('"') for n, each in enumerate(command[:-1]) if each == name), "")
