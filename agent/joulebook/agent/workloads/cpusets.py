"""Which CPU packages a cgroup may run on: cpuset(7) and Documentation/admin-guide/cgroup-v2.rst."""

from __future__ import annotations

import os
from pathlib import Path

from joulebook.agent.source import Roots
from joulebook.agent.usage.topology import parse_list, read_cpus
from joulebook.agent.workloads.hierarchy import Controller, Hierarchies

# v2 shows what holds, v1 what was asked for: there the kernel keeps it within the parent's by itself.
_MOST_BYTES = 65_536
_V2, _V1 = "cpuset.cpus.effective", "cpuset.cpus"


class Cpusets:
    """Knows the packages of the machine; looks a cgroup's cpuset up when it is asked."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies) -> None:
        self._package_of = {cpu.number: cpu.package for cpu in read_cpus(roots)}
        self._packages = frozenset(self._package_of.values())
        self._root, self._file = _place(roots, hierarchies.cpu)

    @property
    def worth_asking(self) -> bool:
        """Say whether there is more than one package."""
        return len(self._packages) > 1

    def packages_of(self, path: str) -> tuple[int, ...]:
        """Return the packages that a cgroup may run on; empty: all, or nobody knows."""
        cpus = self._cpus(path)
        packages = {self._package_of[cpu] for cpu in cpus if cpu in self._package_of}
        return tuple(sorted(packages)) if packages < self._packages else ()

    def _cpus(self, path: str) -> list[int]:
        """Return the CPUs of the nearest group that has a cpuset of its own; none: no limit is known."""
        while path.strip("/"):
            try:
                cpus = parse_list(_whole(f"{self._root}/{path.lstrip('/')}/{self._file}"))
            except (OSError, ValueError):
                cpus = []
            # An empty v1 set is one that nobody has set up yet.
            if cpus:
                return cpus
            path = path.rpartition("/")[0]
        return []


def _whole(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MOST_BYTES)
    finally:
        os.close(fd)


def _place(roots: Roots, cpu: Controller | None) -> tuple[Path, str]:
    """Return where cpusets are kept: v2 has one hierarchy for all, v1 and hybrid one for them alone."""
    if cpu is not None and cpu.root == roots.cgroupfs:
        return cpu.root, _V2
    return roots.cgroupfs / "cpuset", _V1
