"""The commands under `joulebook run`: their figures from begin to end."""

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.source import Metric, Roots
from joulebook.agent.workloads.column import CPU, MEMORY, Member, Past, Stood, stood
from joulebook.agent.workloads.hierarchy import Hierarchies, cgroup_paths
from joulebook.agent.workloads.opener import Figures
from joulebook.agent.workloads.processes import Family, Kinship, read_stat
from joulebook.agent.workloads.rungroup import group_name
from joulebook.agent.workloads.runwire import BeginRun
from joulebook.agent.workloads.workload import JOB, Workload

_CLEANING_US = 10_000_000
_MAX_ANCESTORS = 1000


class RunRefusedError(ValueError):
    """A run that cannot be booked as asked; the message names the field."""


class FamilyColumn:
    """CPU time or memory of a process tree."""

    def __init__(self, metric: Metric, family: Family, base: int) -> None:
        self.metric = metric
        self._family = family
        self._base = base
        self.value = base

    def read(self) -> None:
        """Look through the tree; CPU time never falls."""
        if self.metric == CPU:
            self.value = max(self.value, self._base + self._family.cpu_us())
        else:
            self.value = self._family.memory_bytes()

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Nothing is kept open."""

    def settle(self, usage_us: int) -> None:
        """Take the kernel's word at the end: short-lived children may have come and gone between looks."""
        self.value = max(self.value, self._base + usage_us)


@dataclass(slots=True)
class Run:
    """A command that runs, or that ended and waits for its last reading to be taken."""

    member: Member
    pid: int
    begun_s: float
    # The run, or the part of an application, that it was begun in.
    outer: str = ""
    groups: tuple[Path, ...] = ()
    ended: bool = False
    usage_us: int = 0
    was_read: bool = False


class Runs:
    """Every run from begin to end, by id."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies, opener: Figures, past: Past) -> None:
        self._procfs = roots.procfs
        self._hierarchies = hierarchies
        self._figures = opener
        self._past = past
        self._kinship = Kinship(roots.procfs)
        self._litter: list[Path] = []
        self._cleaned_us = 0
        self.by_id: dict[str, Run] = {}

    def begin(self, message: BeginRun, client_pid: int, user: str, unix_us: int) -> Run:
        """Take up a run whose process waits; raise RunRefusedError where the request is not what is there."""
        self.check(message, client_pid)
        run_id, n = message.id, 1
        while run_id in self.by_id:
            n += 1
            run_id = f"{message.id}.{n}"
        workload = Workload(
            run_id,
            JOB,
            "run",
            message.name,
            user,
            reserved_millicpus=min(message.reserved_millicpus, 1000 * (os.cpu_count() or 1)),
            start_unix_us=unix_us,
        )
        paths = cgroup_paths(self._procfs, message.pid)
        cpu = self._hierarchies.cpu
        path = paths.get(cpu.key, "") if cpu else ""
        run = Run(Member(workload, path=path), message.pid, time.monotonic(), self.run_of(client_pid))
        ending = f"/{group_name(message.token)}"
        own_paths = {key: each for key, each in paths.items() if each.endswith(ending)}
        if path.endswith(ending):
            self._figures.open(own_paths, run.member, self._past, fresh=True)
            run.groups = self._groups(own_paths)
        if not any(column.metric == CPU for column in run.member.columns):
            run.member.close()
            family = Family(self._procfs, client_pid, self._kinship)
            base = self._past.value(run_id, CPU)
            run.member.columns = [FamilyColumn(CPU, family, base), FamilyColumn(MEMORY, family, 0)]
        self.by_id[run_id] = run
        return run

    def end(self, run_id: str, usage_us: int) -> bool:
        """End a run; say whether it was running. usage_us: what the kernel told its client, 0 without one."""
        run = self.by_id.get(run_id)
        if run is None or run.ended:
            return False
        run.ended = True
        run.usage_us = min(usage_us, int((time.monotonic() - run.begun_s) * 1e6) * (os.cpu_count() or 1))
        return True

    def read_ended(self) -> None:
        """Take the last readings of those that ended, gauges too."""
        for run in self.by_id.values():
            if not run.ended or run.was_read:
                continue
            for column in run.member.columns:
                column.read()
                if isinstance(column, FamilyColumn) and column.metric == CPU:
                    column.settle(run.usage_us)
            run.was_read = True

    def settle(self, now_us: int) -> list[Member]:
        """Let go of the runs whose last readings were taken; return them."""
        gone = [run for run in self.by_id.values() if run.was_read]
        for run in gone:
            del self.by_id[run.member.workload.id]
            self._litter += run.groups
        if now_us - self._cleaned_us >= _CLEANING_US:
            self._cleaned_us = now_us
            self._litter = [directory for directory in self._litter if _stays(directory)]
        return [run.member for run in gone]

    def close(self) -> None:
        """Give everything back."""
        for run in self.by_id.values():
            run.member.close()

    def check(self, message: BeginRun, client_pid: int) -> None:
        """Raise RunRefusedError where the request is not what is there."""
        try:
            parent_pid = read_stat(self._procfs, message.pid).parent_pid
        except (OSError, ValueError, IndexError):
            raise RunRefusedError(f"pid: no process {message.pid} here") from None
        # Only its parent may announce a process: nobody books another's.
        if parent_pid != client_pid:
            raise RunRefusedError(f"pid: process {message.pid} is no child of the client, {client_pid}")

    def run_of(self, pid: int) -> str:
        """Return the run that this process descends from."""
        running = {run.pid: run_id for run_id, run in self.by_id.items() if not run.ended}
        for _ in range(_MAX_ANCESTORS):
            if not running or pid <= 1 or pid in running:
                break
            try:
                pid = read_stat(self._procfs, pid).parent_pid
            except (OSError, ValueError, IndexError):
                break
        return running.get(pid, "")

    def _groups(self, paths: dict[str, str]) -> tuple[Path, ...]:
        controllers = (self._hierarchies.cpu, self._hierarchies.memory)
        there = [each for each in controllers if each is not None and each.key in paths]
        return tuple(dict.fromkeys(each.directory(paths[each.key]) for each in there))


def _stays(directory: Path) -> bool:
    """Remove the group that a killed client left; say whether processes still hold it."""
    try:
        directory.rmdir()
    except OSError as error:
        return error.errno == errno.EBUSY
    return False
