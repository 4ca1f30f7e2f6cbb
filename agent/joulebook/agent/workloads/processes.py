"""CPU time and kinship of processes."""

import os
import time
from pathlib import Path
from typing import NamedTuple

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """What /proc/PID/stat says: the parent, and the CPU time of children that ended and were waited for."""

    parent_pid: int
    waited_us: int


def parse_stat(raw: bytes) -> Stat:
    """Parse /proc/PID/stat; see proc(5). The command may hold spaces and parentheses."""
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Stat(int(fields[1]), (int(fields[13]) + int(fields[14])) * _TICK_US)


def parse_statm(raw: bytes) -> tuple[int, int]:
    """Return bytes resident and, of these, shared, from /proc/PID/statm."""
    fields = raw.split(maxsplit=3)
    return int(fields[1]) * _PAGE_BYTES, int(fields[2]) * _PAGE_BYTES


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time of a whole process, zombies included; OSError when it is gone.

    The clock id is the kernel's encoding, as clock_getcpuclockid(3) makes it.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def read_stat(procfs: Path, pid: int) -> Stat:
    """Read parse_stat() of a process."""
    return parse_stat((procfs / str(pid) / "stat").read_bytes())


class Kinship:
    """Finds children: from the kernel's lists where it keeps them (CONFIG_PROC_CHILDREN), else by a scan."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        pid = os.getpid()
        self._listed = (procfs / f"{pid}/task/{pid}/children").exists()
        self._by_parent: dict[int, list[int]] = {}

    def look(self) -> None:
        """Take a new look, once for all questions of a tick."""
        if self._listed:
            return
        self._by_parent = {}
        with os.scandir(self._procfs) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name.isdigit():
                try:
                    parent = read_stat(self._procfs, int(name)).parent_pid
                except (OSError, ValueError):
                    continue
                self._by_parent.setdefault(parent, []).append(int(name))

    def children(self, pid: int) -> list[int]:
        """Return the children of all threads of a process; none when it is gone."""
        if not self._listed:
            return self._by_parent.get(pid, [])
        pids: list[int] = []
        try:
            for task in (self._procfs / str(pid) / "task").iterdir():
                pids += map(int, (task / "children").read_bytes().split())
        except (OSError, ValueError):
            pass
        return pids


class Family:
    """The processes that descend from a client, without the client itself."""

    def __init__(self, procfs: Path, client_pid: int, kinship: Kinship) -> None:
        self._procfs = procfs
        self._client_pid = client_pid
        self._kinship = kinship
        self._waited_before_us = self._waited_us(client_pid)
        self._members: set[int] = set()

    def cpu_us(self) -> int:
        """Return the CPU time of those that live and those that ended; it may dip while one is reaped."""
        self._kinship.look()
        total_us = max(0, self._waited_us(self._client_pid) - self._waited_before_us)
        # A parent is read before its children: one reaped in between is missed, never counted twice.
        ahead = self._kinship.children(self._client_pid)
        seen = set(ahead)
        while ahead:
            pid = ahead.pop()
            total_us += self._waited_us(pid)
            try:
                total_us += process_cpu_ns(pid) // 1000
            except OSError:
                continue
            fresh = [child for child in self._kinship.children(pid) if child not in seen]
            seen.update(fresh)
            ahead += fresh
        self._members = seen
        return total_us

    def memory_bytes(self) -> int:
        """Return what the processes seen last hold alone: resident less shared, so nothing counts twice."""
        total_bytes = 0
        for pid in self._members:
            try:
                resident, shared = parse_statm((self._procfs / str(pid) / "statm").read_bytes())
            except (OSError, ValueError, IndexError):
                continue
            total_bytes += max(0, resident - shared)
        return total_bytes

    def _waited_us(self, pid: int) -> int:
        try:
            return read_stat(self._procfs, pid).waited_us
        except (OSError, ValueError, IndexError):
            return 0
