"""Where a process is: its cgroup, and the workload that contains it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from joulebook.agent.workloads.cgroups import Cgroups
from joulebook.agent.workloads.containment import Containment
from joulebook.agent.workloads.hierarchy import cgroup_paths
from joulebook.agent.workloads.launchers.place import Place, place_in
from joulebook.agent.workloads.running import Runs


class Whereabouts:
    """Finds it among cgroups and runs."""

    def __init__(
        self, procfs: Path, key: str, cgroups: Cgroups, runs: Runs, own_pids: Collection[int]
    ) -> None:
        """key: of the hierarchy of CPU time; own_pids: the agent's, beside this one."""
        self._procfs, self._key = procfs, key
        self._cgroups, self._runs = cgroups, runs
        self._own_pids = frozenset((os.getpid(), *own_pids))
        # What workloads were placed by last.
        self.placed_by = Containment(cgroups.members, {})

    def containment(self) -> Containment:
        """Return which workload contains which path now: placed_by while runs are the same."""
        runs = {run.member.path: run.member.workload.id for run in self._runs.by_id.values() if run.groups}
        known = self.placed_by
        return known if runs == known.runs else Containment(self._cgroups.members, runs)

    def workload_of(self, pid: int, application_of: Callable[[int], str]) -> str:
        """Return the workload that a process belongs to; "" for none, or where it is gone."""
        if (path := self._path_of(pid)) is None:
            return ""
        return self._runs.run_of(pid) or application_of(pid) or self.containment().at_or_above(path)

    def place_of(self, pid: int) -> Place | None:
        """Return what contains a process, for applications; None where it is gone."""
        if (path := self._path_of(pid)) is None or pid in self._own_pids:  # gone, or the agent
            return None if path is None else Place(path, is_job=True)
        groups = frozenset(run.member.path for run in self._runs.by_id.values() if run.groups)
        return place_in(path, self._cgroups.members, groups, in_run=bool(self._runs.run_of(pid)))

    def _path_of(self, pid: int) -> str | None:
        return cgroup_paths(self._procfs, pid).get(self._key)
