"""Which job holds which GPU, by the environment that its scheduler gave it. It is never passed on.

Where none tells, by the devices that its cgroup may open.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from joulebook.agent.source import UNREADABLE, WORKING, Finding
from joulebook.agent.workloads import kubernetes, slurm_shares
from joulebook.agent.workloads.amd_plugin import allotted_by_amd
from joulebook.agent.workloads.device_rules import domains_allowed
from joulebook.agent.workloads.intel_plugin import allotted_by_intel
from joulebook.agent.workloads.visible import (
    SLURM,
    WHOLE_PPM,
    HeldGpu,
    allotted,
    domains_held,
    in_order,
    parse_environ,
    shares_held,
)
from joulebook.agent.workloads.workload import JOB, Workload

_log = logging.getLogger(__name__)

_MAX_DIRECTORIES = 32
_MAX_PIDS = 16
_DENIED = "the environment of other users' processes may not be read: which GPUs jobs hold is not known"
_FIX = "give the agent CAP_SYS_PTRACE (systemd: AmbientCapabilities=CAP_SYS_PTRACE), or run it as root"


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that may hold GPUs, and where its processes are: a cgroup, or one process.

    ruled is its cgroup in the hierarchy of device rules, where there is one.
    """

    workload: Workload
    group: Path | None = None
    pid: int = 0
    ruled: Path | None = None


class GpuHolders:
    """The GPUs that each job holds, found once a job."""

    def __init__(
        self,
        procfs: Path,
        gpus: Sequence[HeldGpu],
        pod_devices: Callable[[str], tuple[str, ...] | None] = lambda _: None,
        sysfs: Path = Path("/sys"),
    ) -> None:
        """pod_devices gives the ids of the devices that a pod, by its name, was allotted; None: not known."""
        self._procfs = procfs
        self._pod_devices = pod_devices
        self._gpus = gpus
        # Whether environments name any.
        self._has_names = any(gpu.index >= 0 for gpu in gpus)
        self._allotted: Callable[[Sequence[str]], tuple[tuple[str, ...], dict[str, int]]]
        if any(gpu.rocr_devices for gpu in gpus):
            self._allotted = partial(allotted_by_amd, gpus=gpus, sysfs=sysfs)
        elif not self._has_names:
            self._allotted = partial(allotted_by_intel, gpus=gpus, sysfs=sysfs)
        else:
            self._allotted = partial(allotted, gpus=gpus)
        # What was said of each, by device rules where nobody said anything, and the two together.
        self._said: dict[str, tuple[str, ...]] = {}
        self._ruled: dict[str, tuple[str, ...]] = {}
        self._held: dict[str, tuple[str, ...]] = {}
        # Of jobs that hold parts of GPUs.
        self._shares: dict[str, dict[str, int]] = {}
        # Of jobs that share GPUs with others: what each has in Slurm's units, and what that comes to.
        self._weights: dict[str, int] = {}
        self._weighed: dict[str, dict[str, int]] = {}
        self._looks: dict[str, int] = {}
        self._denied = False

    def look(self, holders: Iterable[Holder]) -> bool:
        """Look at the jobs that are not known yet; say whether what is held changed."""
        before = self._held
        known, ruled = dict(self._said), dict(self._ruled)
        looks: dict[str, int] = {}
        for holder in holders:
            name = holder.workload.id
            if holder.workload.kind != JOB:
                continue
            looks[name] = self._looks.get(name, 0) + 1
            devices = None
            if holder.workload.source == kubernetes.SOURCE:
                devices = self._pod_devices(holder.workload.name)
            if devices:
                known[name], self._shares[name] = self._allotted(devices)
                continue
            # A job's first processes are the scheduler's own and know nothing of GPUs. Its own come soon,
            # late or never: so the 1st, 2nd, 4th, 8th … look is taken.
            if name in known or looks[name] & (looks[name] - 1):
                continue
            held = self._ask(holder) if self._has_names else None
            if held is not None:
                known[name] = held
            elif holder.ruled is not None and devices is None:
                # A pod that the kubelet gave none may look at them at most.
                may = domains_allowed(holder.ruled, self._gpus, holder.workload.source)
                ruled.pop(name, None)
                ruled |= {} if may is None else {name: may}
        self._looks = looks
        self._said = {name: held for name, held in known.items() if name in looks}
        self._ruled = {name: held for name, held in ruled.items() if name in looks and name not in known}
        self._held = self._ruled | self._said
        self._shares = {name: shares for name, shares in self._shares.items() if name in looks}
        self._weights = {name: weight for name, weight in self._weights.items() if name in looks}
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
        found = {name: tuple(held) for name, held in left.items() if held}
        self._weighed = slurm_shares.shared_ppm(found, self._weights)
        return found

    def shares(self, workload: str, domains: Sequence[str]) -> tuple[int, ...]:
        """Return what part of each domain a workload holds in ppm, as of held(); empty: all of them whole."""
        shares = self._shares.get(workload) or self._weighed.get(workload)
        return tuple(shares.get(domain, WHOLE_PPM) for domain in domains) if shares else ()

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
            held = in_order((*(held or ()), *more))
            shares |= shares_held(environ, self._gpus)
            if not shares and any(environ.get(name) for name in SLURM):
                self._weights[holder.workload.id] = slurm_shares.weight_of(environ)
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
