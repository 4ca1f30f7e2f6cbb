"""Dask's processes, by their scheduler's address.

Workers are a nanny's children and show nothing but __DASK_PARENT_PID; the nanny is `dask worker`, or the
client itself under LocalCluster.
"""

import hashlib

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, host_port, shown
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "dask"
_SCHEDULERS = frozenset(("dask-scheduler", "distributed.cli.dask_scheduler"))
_WORKERS = frozenset(
    ("dask-worker", "dask-cuda-worker", "distributed.cli.dask_worker", "distributed.cli.dask_spec")
)
_DEFAULT_PORT = "8786"


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell schedulers and nannies by their command line, workers by their nanny, clients by a variable."""
    if claim := _daemon(process, here):
        return claim
    if "__DASK_PARENT_PID" in process.told and (nanny := process.parent) is not None:
        # A client with workers of its own: no other node knows its cluster.
        return _daemon(nanny, here) or Claim(f"dask.{here.only(nanny)}", SOURCE, also=(nanny.pid,))
    return _at(process.told.get("DASK_SCHEDULER_ADDRESS", ""), process, here)


def _daemon(process: Process, here: Here) -> Claim | None:
    programs = process.programs
    verb = ""
    if "dask" in programs:
        place = next(n for n, argument in enumerate(process.command) if argument.rpartition("/")[2] == "dask")
        verb = next(iter(process.command[place + 1 : place + 2]), "")
    file = process.option("--scheduler-file")
    if verb == "scheduler" or _SCHEDULERS.intersection(programs):
        if file and not process.option("--host", "--port"):
            return _by_file(file)
        port = process.option("--port") or _DEFAULT_PORT
        address = process.option("--host")
        return _at(address if host_port(address) else f"{address}:{port}", process, here)
    if verb in ("worker", "spec", "cuda") or _WORKERS.intersection(programs):
        named = (argument for argument in process.command[1:] if not argument.startswith("-"))
        given = next((each for each in named if "://" in each or host_port(each)), "")
        address = given or process.told.get("DASK_SCHEDULER_ADDRESS", "")
        return _at(address, process, here) or (_by_file(file) if file else None)
    return None


def _at(address: str, process: Process, here: Here) -> Claim | None:
    place = host_port(address)
    if place is None:
        return None
    return Claim(f"dask.{clean(f'{here.host(place[0], process.pid)}:{place[1]}')}", SOURCE)


def _by_file(file: str) -> Claim:
    return Claim(
        f"dask.file-{hashlib.blake2b(file.encode(), digest_size=6).hexdigest()}", SOURCE, shown(file)
    )
