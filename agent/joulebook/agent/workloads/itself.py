"""The agent's own use, and that of the programs started with it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from joulebook.agent.workloads.column import CPU, MEMORY, Column, Member, Stood, stood
from joulebook.agent.workloads.hierarchy import cgroup_paths
from joulebook.agent.workloads.processes import parse_statm, process_cpu_ns
from joulebook.agent.workloads.workload import AGENT, Workload

_STATM_BYTES = 128


class CpuColumn:
    """CPU time of whole processes by their clocks. One that is gone keeps its last value."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.metric = CPU
        self._own_pid = os.getpid()
        self._clocks_ns = dict.fromkeys(pids, 0)
        self._gone_ns = 0
        self.value = 0
        self.read()

    def read(self) -> None:
        """Take the clocks."""
        total_ns = self._gone_ns
        for pid, last_ns in list(self._clocks_ns.items()):
            try:
                own = pid == self._own_pid
                now_ns = time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID) if own else process_cpu_ns(pid)
            except OSError:
                now_ns = -1
            if now_ns < last_ns:  # gone, or the number belongs to another by now
                del self._clocks_ns[pid]
                self._gone_ns += last_ns
                now_ns = last_ns
            else:
                self._clocks_ns[pid] = now_ns
            total_ns += now_ns
        self.value = total_ns // 1000

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Nothing is kept open."""


class MemoryColumn:
    """Resident memory of processes."""

    def __init__(self, procfs: Path, pids: Sequence[int]) -> None:
        self.metric = MEMORY
        self._fds: list[int] = []
        for pid in pids:
            try:
                self._fds.append(os.open(procfs / str(pid) / "statm", os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                continue
        self.value = 0
        self.read()

    def read(self) -> None:
        """Take the sizes; a process that is gone has none."""
        total_bytes = 0
        for fd in self._fds:
            try:
                total_bytes += parse_statm(os.pread(fd, _STATM_BYTES, 0))[0]
            except (OSError, ValueError, IndexError):
                continue
        self.value = total_bytes

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.pop())


def members_of_agent(procfs: Path, cgroup_key: str, own_pids: Sequence[int], unix_us: int) -> list[Member]:
    """Return one workload for each cgroup that the agent's processes stand in: each has one parent."""
    own_pid = os.getpid()
    pids_by_path: dict[str, list[int]] = {}
    for pid in dict.fromkeys((own_pid, *own_pids)):
        path = cgroup_paths(procfs, "self" if pid == own_pid else pid).get(cgroup_key, "/")
        pids_by_path.setdefault(path, []).append(pid)
    members = []
    for n, (path, pids) in enumerate(pids_by_path.items(), 1):
        name = "agent" if n == 1 else f"agent.{n}"
        columns: list[Column] = [CpuColumn(pids), MemoryColumn(procfs, pids)]
        workload = Workload(name, AGENT, "agent", "joulebook", start_unix_us=unix_us)
        members.append(Member(workload, columns, path))
    return members
