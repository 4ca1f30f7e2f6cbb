"""Which job holds which GPU, by the environment that its scheduler gave it. It is never passed on."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from joulebook.agent.source import UNREADABLE, WORKING, Finding
from joulebook.agent.workloads import kubernetes
from joulebook.agent.workloads.workload import JOB, Workload

_log = logging.getLogger(__name__)

# Slurm's are numbers of the node's device files (/dev/nvidiaN), whatever a device cgroup hides: the job's
# allocation first, then the step's. CUDA's is what the program is meant to see; the container runtime's is
# what was put into a container, where it names GPUs: images say `all`, and numbers count what the runtime
# sees.
_SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
_CUDA = "CUDA_VISIBLE_DEVICES"
_CUDA_ORDER = "CUDA_DEVICE_ORDER"
_RUNTIME = "NVIDIA_VISIBLE_DEVICES"
_WANTED = frozenset((*_SLURM, _CUDA, _CUDA_ORDER, _RUNTIME))
# In a container CUDA counts from 0 whatever GPUs it was given.
_CONTAINERS = frozenset(("docker", "podman", "containerd", "crio", kubernetes.SOURCE))

_WHOLE_PPM = 1_000_000
_MAX_DIRECTORIES = 32
_MAX_PIDS = 16
_DENIED = "the environment of other users' processes may not be read: which GPUs jobs hold is not known"
_FIX = "give the agent CAP_SYS_PTRACE (systemd: AmbientCapabilities=CAP_SYS_PTRACE), or run it as root"


class HeldGpu(Protocol):
    """What a GPU is called: its domain, its number and UUID with the driver, its device file, its model.

    parts has what it is divided into (MIG), by every name that programs are given: the share of each in ppm.
    """

    domain: str
    index: int
    uuid: str
    minor: int
    model: str
    parts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that may hold GPUs, and where its processes are: a cgroup, or one process."""

    workload: Workload
    group: Path | None = None
    pid: int = 0


def parse_environ(raw: bytes) -> dict[str, str]:
    """Return what /proc/PID/environ says of GPUs, and nothing else of it; see proc(5)."""
    found = {}
    for entry in raw.split(b"\0"):
        name, _, value = entry.decode(errors="replace").partition("=")
        if name in _WANTED:
            found[name] = value
    return found


def domains_held(environ: Mapping[str, str], gpus: Sequence[HeldGpu], source: str) -> tuple[str, ...] | None:
    """Return the domains that an environment names; None where it says nothing about GPUs."""
    for name in _SLURM:
        # Of divided GPUs Slurm numbers the parts, and CUDA's names say which they are.
        if environ.get(name) and not _parts_of(environ, gpus):
            by_minor = {str(gpu.minor): gpu.domain for gpu in gpus}
            return _in_order(by_minor.get(one, "") for one in _numbers(environ[name]))
    if source in _CONTAINERS:
        # What a container was given counts, not what a program in it is to see of that.
        given = [one.strip() for one in environ.get(_RUNTIME, "").split(",")]
        if named := _in_order(_by_uuid(one, gpus) for one in given):
            return named
    if _CUDA not in environ:
        return None
    # CUDA puts the fastest first unless told otherwise; GPUs of one model stay in the bus's order.
    in_order = environ.get(_CUDA_ORDER) == "PCI_BUS_ID" or len({gpu.model for gpu in gpus}) == 1
    by_index = {str(gpu.index): gpu.domain for gpu in gpus}
    known = by_index if in_order and source not in _CONTAINERS else {}
    found = []
    for one in environ[_CUDA].split(","):
        domain = known.get(one.strip()) or _by_uuid(one.strip(), gpus)
        # What follows something that is no GPU (-1, NoDevFiles) is hidden.
        if not domain:
            break
        found.append(domain)
    return _in_order(found)


def shares_held(environ: Mapping[str, str], gpus: Sequence[HeldGpu]) -> dict[str, int]:
    """Return the part of each GPU that an environment names, of those GPUs of which it names only parts."""
    shares: dict[str, int] = {}
    for gpu, name in _parts_of(environ, gpus):
        shares[gpu.domain] = min(shares.get(gpu.domain, 0) + gpu.parts[name], _WHOLE_PPM)
    return shares


def allotted(devices: Sequence[str], gpus: Sequence[HeldGpu]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the domains of devices as NVIDIA's plugin calls them, and the part of those held in parts.

    Ids are UUIDs of GPUs or parts, or numbers of GPUs; a shared one has ::N behind it.
    """
    names = [device.partition("::")[0] for device in devices]
    by_index = {str(gpu.index): gpu.domain for gpu in gpus}
    shares: dict[str, int] = {}
    for name in dict.fromkeys(names):
        for gpu in gpus:
            if name in gpu.parts:
                shares[gpu.domain] = min(shares.get(gpu.domain, 0) + gpu.parts[name], _WHOLE_PPM)
    return _in_order(by_index.get(name) or _by_uuid(name, gpus) for name in names), shares


class GpuHolders:
    """The GPUs that each job holds, found once a job."""

    def __init__(
        self,
        procfs: Path,
        gpus: Sequence[HeldGpu],
        pod_devices: Callable[[str], tuple[str, ...] | None] = lambda _: None,
    ) -> None:
        """pod_devices gives the ids of the devices that a pod, by its name, was allotted; None: not known."""
        self._procfs = procfs
        self._pod_devices = pod_devices
        self._gpus = gpus
        self._held: dict[str, tuple[str, ...]] = {}
        # Of jobs that hold parts of GPUs.
        self._shares: dict[str, dict[str, int]] = {}
        self._looks: dict[str, int] = {}
        self._denied = False

    def look(self, holders: Iterable[Holder]) -> bool:
        """Look at the jobs that are not known yet; say whether what is held changed."""
        before = self._held
        known = dict(before)
        looks: dict[str, int] = {}
        for holder in holders:
            name = holder.workload.id
            if holder.workload.kind != JOB:
                continue
            looks[name] = self._looks.get(name, 0) + 1
            if holder.workload.source == kubernetes.SOURCE and (
                devices := self._pod_devices(holder.workload.name)
            ):
                known[name], self._shares[name] = allotted(devices, self._gpus)
                continue
            # A job's first processes are the scheduler's own and know nothing of GPUs. Its own come soon,
            # late or never: so the 1st, 2nd, 4th, 8th … look is taken.
            if name in known or looks[name] & (looks[name] - 1):
                continue
            held = self._ask(holder)
            if held is not None:
                known[name] = held
        self._looks = looks
        self._held = {name: held for name, held in known.items() if name in looks}
        self._shares = {name: shares for name, shares in self._shares.items() if name in looks}
        return any(self._held.get(name, ()) != before.get(name, ()) for name in before | self._held)

    def held(self, workloads: Iterable[Workload]) -> dict[str, tuple[str, ...]]:
        """Return what each holds; what a child holds it holds instead of those around it."""
        if not self._held:
            return {}
        parents = {workload.id: workload.parent for workload in workloads}
        left = {name: list(held) for name, held in self._held.items()}
        for name, held in self._held.items():
            around = parents.get(name, "")
            while around:
                left[around] = [each for each in left.get(around, ()) if each not in held]
                around = parents.get(around, "")
        return {name: tuple(held) for name, held in left.items() if held}

    def shares(self, workload: str, domains: Sequence[str]) -> tuple[int, ...]:
        """Return what part of each domain a workload holds in ppm; empty: all of them whole."""
        shares = self._shares.get(workload)
        return tuple(shares.get(domain, _WHOLE_PPM) for domain in domains) if shares else ()

    def findings(self) -> tuple[Finding, ...]:
        """Say whether environments can be read."""
        if not self._denied:
            return (Finding("workloads.gpuholders", WORKING),)
        reason = (
            "the environment of other users' processes may not be read: which GPUs jobs hold is not known"
        )
        return (Finding("workloads.gpuholders", UNREADABLE, reason, _FIX),)

    def _ask(self, holder: Holder) -> tuple[str, ...] | None:
        """Return what a job holds: as its first process says that says anything; of a pod, all of them."""
        held: tuple[str, ...] | None = None
        shares: dict[str, int] = {}
        pids = [holder.pid] if holder.pid else group_pids(holder.group) if holder.group else []
        for pid in pids:
            try:
                environ = parse_environ((self._procfs / str(pid) / "environ").read_bytes())
            except PermissionError:
                if not self._denied:
                    self._denied = True
                    _log.warning("%s; %s", _DENIED, _FIX)
                continue
            except OSError:
                continue
            more = domains_held(environ, self._gpus, holder.workload.source)
            if more is None:
                continue
            held = _in_order((*(held or ()), *more))
            shares |= shares_held(environ, self._gpus)
            if holder.workload.source != kubernetes.SOURCE:
                break
        if held is not None:
            self._shares[holder.workload.id] = shares
        return held


def group_pids(group: Path) -> list[int]:
    """Return some processes of a cgroup or, deeper, of the groups in it; see cgroups(7) on cgroup.procs."""
    pids: list[int] = []
    ahead = [group]
    for directory in ahead:
        # Of a threaded group the kernel does not list processes: they are listed above it.
        with contextlib.suppress(OSError, ValueError):
            pids += [int(pid) for pid in (directory / "cgroup.procs").read_bytes().split()]
        if len(pids) >= _MAX_PIDS:
            break
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            inside = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
            ahead += inside[: max(0, _MAX_DIRECTORIES - len(ahead))]
    return pids[:_MAX_PIDS]


def _numbers(text: str) -> list[str]:
    """Return the numbers of a list such as 0,2-4."""
    found: list[str] = []
    for one in text.split(","):
        first, _, last = one.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found += map(str, range(int(first), min(int(last or first), int(first) + _MAX_PIDS) + 1))
    return found


def _by_uuid(name: str, gpus: Sequence[HeldGpu]) -> str:
    """Return the GPU that a UUID or its beginning, or the name of one of its parts names."""
    if of_part := [gpu.domain for gpu in gpus if name in gpu.parts]:
        return of_part[0]
    name = name.removeprefix("MIG-").partition("/")[0]
    found = [gpu.domain for gpu in gpus if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return found[0] if len(found) == 1 else ""


def _parts_of(environ: Mapping[str, str], gpus: Sequence[HeldGpu]) -> list[tuple[HeldGpu, str]]:
    given = environ.get(_CUDA) or environ.get(_RUNTIME, "")
    names = [name.strip() for name in given.split(",")]
    return [(gpu, name) for name in dict.fromkeys(names) for gpu in gpus if name in gpu.parts]


def _in_order(domains: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(domain for domain in domains if domain))
