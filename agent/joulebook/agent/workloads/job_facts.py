"""What the path of a scheduler's job does not tell: its name, its user, and what it has reserved.

Processes of the job tell the first two, the kernel's limits the third. Of an environment nothing but the
variables named here is ever taken: it may hold secrets.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from joulebook.agent.source import Roots
from joulebook.agent.workloads import flux, htcondor, lsf, pbs, slurm
from joulebook.agent.workloads.hierarchy import Controller, Hierarchies
from joulebook.agent.workloads.processes import read_stat
from joulebook.agent.workloads.workload import Workload, told


class _Tells(NamedTuple):
    """The variables that tell which job a task is of, the job's name and its CPUs on this node; "": none."""

    job: str
    name: str
    cpus: str


_TELLS = {
    slurm.SOURCE: _Tells("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_CPUS_ON_NODE"),
    pbs.SOURCE: _Tells("PBS_JOBID", "PBS_JOBNAME", "NCPUS"),
    flux.SOURCE: _Tells("FLUX_JOB_ID", "", ""),
    lsf.SOURCE: _Tells("LSB_JOBID", "LSB_JOBNAME", ""),
    htcondor.SOURCE: _Tells("", "", ""),
}
_AD, _INDEX = "_CONDOR_JOB_AD", "LSB_JOBINDEX"
SOURCES = tuple(_TELLS)
_VARIABLES = {_AD, _INDEX}.union(variable for tells in _TELLS.values() for variable in tells if variable)
_MAX_NAME = 255
# v1 shows the largest number of pages where there is no limit.
_NO_LIMIT_BYTES = 1 << 62
# The schedulers' own helpers, which stand in the job's group as root before and beside the tasks.
_HELPERS = ("slurmstepd", "flux-imp")
# Who starts a job's first task: what that one's environment says, the scheduler said.
_STARTERS = {slurm.SOURCE: "slurmstepd", htcondor.SOURCE: "condor_starter"}
# Holds a sleeping process of root's.
_EXTERN = "step_extern"


class _Process(NamedTuple):
    id: str
    uid: int
    name: str
    cpus: str
    user: str = ""


class JobFacts:
    """Looks at jobs on the node. A job just made has no process yet: ask again at the next tick."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies, lookup_user: Callable[[int], str]) -> None:
        self._procfs = roots.procfs
        self._trees = hierarchies.walked
        self._memory = hierarchies.memory
        cpu = hierarchies.cpu
        self._cpusets = cpu.root if cpu and not cpu.key else roots.cgroupfs / "cpuset"
        self._lookup_user = lookup_user

    def lacks(self, workload: Workload) -> bool:
        """Say whether there is more to be told of a job than is known."""
        if is_provisional(workload):
            return True
        return not (workload.name if _TELLS[workload.source].name else workload.user)

    def complete(self, workload: Workload, path: str) -> Workload:
        """Return the workload with what can be known of it now; as it was where no process tells yet."""
        process = self._process(path, workload)
        if process is None:
            return workload
        millicpus = self._cpuset_millicpus(path)
        if not millicpus and process.cpus.isdecimal():
            millicpus = 1000 * min(int(process.cpus), 1 << 20)
        return told(
            replace(
                workload,
                id=process.id,
                name=process.name,
                user=workload.user or process.user or self._lookup_user(process.uid),
                reserved_millicpus=millicpus,
                reserved_memory_bytes=memory_limit_bytes(self._memory, path),
            )
        )

    def _process(self, path: str, workload: Workload) -> _Process | None:
        """Return what the job's first task that tells anything tells."""
        nameless, provisional = None, is_provisional(workload)
        tells = _TELLS[workload.source]
        job = workload.id.removeprefix(f"{workload.source}.").partition(".")[0].partition("[")[0]
        for pid in self._pids(path):
            try:
                command, uid = parse_status((self._procfs / str(pid) / "status").read_bytes())
            except (OSError, ValueError):
                continue
            if command in _HELPERS:
                continue
            try:
                said = parse_environ((self._procfs / str(pid) / "environ").read_bytes())
            except PermissionError:
                # Without CAP_SYS_PTRACE the kernel still tells who it is.
                if not provisional:
                    nameless = nameless or _Process(workload.id, uid, "", "")
                continue
            except OSError:
                continue
            if provisional:
                if found := self._first_task(workload, pid, uid, said):
                    return found
            elif tells.job and _number(said.get(tells.job, "")).partition("[")[0] == job:
                id_ = lsf.identify(workload.id, said) if workload.source == lsf.SOURCE else workload.id
                return _Process(id_, uid, said.get(tells.name, "")[:_MAX_NAME], said.get(tells.cpus, ""))
            if workload.source == slurm.SOURCE and (name := slurm.part_name(said, job)) is not None:
                return _Process(workload.id, uid, name[:_MAX_NAME], said.get(tells.cpus, ""))
        return nameless

    def _first_task(self, workload: Workload, pid: int, uid: int, said: dict[str, str]) -> _Process | None:
        """Return what a task tells that the scheduler itself started: who the job is, which no path told."""
        try:
            parent = read_stat(self._procfs, pid).parent_pid
            command, _ = parse_status((self._procfs / str(parent) / "status").read_bytes())
        except (OSError, ValueError):
            return None
        if command != _STARTERS[workload.source]:
            return None
        tells = _TELLS[workload.source]
        if workload.source == slurm.SOURCE:
            found = slurm.numbered(said.get(tells.job, ""))
            name, cpus = said.get(tells.name, "")[:_MAX_NAME], said.get(tells.cpus, "")
            return _Process(found, uid, name, cpus) if found else None
        ad = htcondor.parse_ad(self._read(pid, said.get(_AD, "")))
        return _Process(ad.id, uid, ad.name, str(ad.cpus or ""), ad.user) if ad else None

    def _read(self, pid: int, path: str) -> bytes:
        """Return a file of ordinary kind as a process sees it; b"" where it cannot be read at once."""
        if not path.startswith("/") or "\0" in path:
            return b""
        try:
            # What is no file, a pipe say, could keep the tick waiting.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            descriptor = os.open(f"{self._procfs}/{pid}/root{path}", flags)
        except (OSError, ValueError):
            return b""
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return os.read(descriptor, htcondor.MAX_AD_BYTES) if regular else b""
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def _pids(self, path: str) -> Iterator[int]:
        for root in self._trees:
            group = root / path.lstrip("/")
            for step in _steps(group) or [group]:
                if step.name == _EXTERN:
                    continue
                # A job may end at any moment of this: unlike glob(), walk() takes what is gone for empty.
                for directory, beneath, files in os.walk(step):
                    beneath.sort()
                    if "cgroup.procs" not in files:
                        continue
                    try:
                        yield from map(int, Path(directory, "cgroup.procs").read_bytes().split())
                    except (OSError, ValueError):
                        continue

    def _cpuset_millicpus(self, path: str) -> int:
        try:
            return 1000 * parse_cpu_list((self._cpusets / path.lstrip("/") / "cpuset.cpus").read_bytes())
        except (OSError, ValueError):
            return 0


def _steps(group: Path) -> list[Path]:
    """Return a job's steps; the batch step first: it has what the whole job has on this node."""
    _, names, _ = next(os.walk(group), ("", [], []))
    steps = sorted(name for name in names if name.startswith("step_"))
    return [group / name for name in sorted(steps, key=lambda name: name != "step_batch")]


def is_provisional(workload: Workload) -> bool:
    """Say whether a job goes by what its path has until one of its tasks tells its id."""
    match workload.source:
        case slurm.SOURCE:
            return slurm.is_provisional(workload.id)
        case htcondor.SOURCE:
            return htcondor.is_provisional(workload.id)
    return False


def _number(job_id: str) -> str:
    """Return a job's id as its path has it: without PBS's server, and with an f for Flux's ƒ."""
    return job_id.partition(".")[0].replace("ƒ", "f")


def parse_environ(raw: bytes) -> dict[str, str]:
    """Return the wanted variables of /proc/PID/environ, and no other; see proc(5)."""
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
    decoded = ((name.decode(errors="replace"), value) for name, _, value in pairs)
    return {
        name: value.decode(errors="replace")
        for name, value in decoded
        if name in _VARIABLES or slurm.is_of_parts(name)
    }


def parse_status(raw: bytes) -> tuple[str, int]:
    """Return the command's name and the real user from /proc/PID/status; see proc(5)."""
    fields = dict(line.split(":\t", 1) for line in raw.decode(errors="replace").splitlines() if ":\t" in line)
    try:
        return fields["Name"], int(fields["Uid"].split()[0])
    except KeyError as missing:
        raise ValueError(f"status: expected a line {missing}") from missing


def parse_cpu_list(raw: bytes) -> int:
    """Return how many CPUs a list like 0-3,8 names; see cpuset(7)."""
    count = 0
    for part in raw.strip().split(b","):
        first, _, last = part.partition(b"-")
        count += (int(last or first) - int(first) + 1) if part else 0
    return count


def memory_limit_bytes(memory: Controller | None, path: str) -> int:
    """Return the memory limit of the group with this path; 0 where there is none, or it cannot be read."""
    if memory is None:
        return 0
    name = "memory.limit_in_bytes" if memory.key else "memory.max"
    try:
        return parse_limit_bytes((memory.directory(path) / name).read_bytes())
    except (OSError, ValueError):
        return 0


def parse_limit_bytes(raw: bytes) -> int:
    """Return v1's memory.limit_in_bytes or v2's memory.max; 0 where there is no limit."""
    if raw.strip() == b"max":
        return 0
    limit = int(raw)
    return limit if limit < _NO_LIMIT_BYTES else 0
