"""What the processes of applications use: each by its own clock, those that ended by their parent's count.

A tick asks the clock of every process of an application, which is a system call and no file. Its
/proc/PID/stat is read only where that clock moved, since who waits for a child runs: of many that moved, so
many a tick in turn. What a child used since it was looked at last comes with its parent's count of children
that it waited for; what the child had been seen to use is taken off that first. A child whose parent belongs
to no application, or never waits, takes along what it used since the last tick: what contains it has that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from joulebook.agent.source import Metric
from joulebook.agent.workloads.column import CPU, MEMORY, Column, Member, Stood, stood
from joulebook.agent.workloads.launchers.process import Processes, Times, read_file
from joulebook.agent.workloads.processes import parse_statm
from joulebook.agent.workloads.workload import Workload

# So many files a tick are read at most, of each kind.
_STATS_A_TICK = 64
_SIZES_A_READ = 64


class PartColumn:
    """CPU time or memory of a part; Members keeps the first up to date."""

    def __init__(self, metric: Metric, part: Part, base: int = 0) -> None:
        self.metric = metric
        self.value = base
        self._part = part
        self._base = base

    def read(self) -> None:
        """Take the part's figure."""
        if self.metric == CPU:
            self.value = self._base + self._part.used_ns // 1000
        else:
            self.value = self._part.memory_bytes()

    def past(self) -> Stood:
        """Return where it stands."""
        return stood(self.metric, self.value)

    def close(self) -> None:
        """Nothing is kept open."""


class Part:
    """The processes of one application in one place of the node, as one workload."""

    def __init__(self, application: str, workload: Workload, path: str, base_us: int, procfs: Path) -> None:
        """path: the cgroup of what contains it; base_us: the CPU time that it showed in earlier lives."""
        self.application = application
        self.member = Member(workload, path=path)
        columns: list[Column] = [PartColumn(CPU, self, base_us), PartColumn(MEMORY, self)]
        self.member.columns = columns
        self.used_ns = 0
        # Bytes that each process holds alone, as read last.
        self.sizes: dict[int, int] = {}
        self._procfs = procfs

    def memory_bytes(self) -> int:
        """Return what the processes hold alone: resident less shared. Of many, some are read each time."""
        for pid in list(islice(self.sizes, _SIZES_A_READ)):
            del self.sizes[pid]
            try:
                resident, shared = parse_statm(read_file(f"{self._procfs}/{pid}/statm"))
                self.sizes[pid] = max(0, resident - shared)  # at the end: its turn comes after all others
            except (OSError, ValueError, IndexError):
                self.sizes[pid] = 0
        return sum(self.sizes.values())


@dataclass(slots=True)
class Tracked:
    """A process, and how far it has been counted. part None: it is watched as its parent's child only."""

    pid: int
    clock: int
    parent: int
    start_us: int
    part: Part | None
    own_ns: int
    waited_us: int
    # Of what it will have waited for: what was counted at the child already.
    counted_us: int = 0
    children: set[int] = field(default_factory=set)


class Members:
    """Every process of every application, by pid. read() each tick."""

    def __init__(self, procfs: Path, processes: Processes, *, has_clocks: bool) -> None:
        """has_clocks: the pids of this /proc are the agent's own, so that the kernel tells their clocks."""
        self.by_pid: dict[int, Tracked] = {}
        self._procfs = procfs
        self._processes = processes
        self._has_clocks = has_clocks
        self._turn = 0

    def add(self, pid: int, part: Part | None, *, since_us: int) -> bool:
        """Count a process from now on; all of it where it began after since_us (boot clock). False: gone."""
        try:
            times = self._processes.times(pid)
            own_ns = self._own_ns(pid, (~pid << 3) | 2, times)
        except (OSError, ValueError, IndexError):
            return False
        fresh = times.start_us >= since_us
        self.by_pid[pid] = Tracked(
            pid,
            (~pid << 3) | 2,
            times.parent,
            times.start_us,
            part,
            0 if fresh else own_ns,
            0 if fresh else times.waited_us,
        )
        if part is not None:
            part.sizes[pid] = 0
        if parent := self.by_pid.get(times.parent):
            parent.children.add(pid)
        return True

    def move(self, pid: int, part: Part | None) -> None:
        """Have what a process uses from now on counted at another part, or at none."""
        tracked = self.by_pid[pid]
        if tracked.part is not None:
            tracked.part.sizes.pop(pid, None)
        tracked.part = part
        if part is not None:
            part.sizes[pid] = 0

    def read(self) -> None:
        """Take the clocks of all, and the counts of those that ran."""
        ran: list[Tracked] = []
        gone: list[Tracked] = []
        clock_ns, has_clocks = time.clock_gettime_ns, self._has_clocks
        for tracked in self.by_pid.values():
            try:
                # The clock id is the kernel's encoding, as clock_getcpuclockid(3) makes it.
                own_ns = clock_ns(tracked.clock) if has_clocks else self._own_ns(tracked.pid, 0, None)
            except (OSError, ValueError, IndexError):
                gone.append(tracked)
                continue
            used_ns = own_ns - tracked.own_ns
            if used_ns:
                if used_ns < 0:  # the number belongs to another by now
                    gone.append(tracked)
                    continue
                tracked.own_ns = own_ns
                if tracked.part is not None:
                    tracked.part.used_ns += used_ns
                ran.append(tracked)
        for tracked in gone:
            self._retire(tracked)
        if len(ran) > _STATS_A_TICK:
            first = self._turn * _STATS_A_TICK % len(ran)
            ran = (ran[first:] + ran[:first])[:_STATS_A_TICK]
            self._turn += 1
        for tracked in ran:
            if tracked.pid in self.by_pid:
                self._take_waited(tracked)

    def _take_waited(self, tracked: Tracked) -> None:
        """Take what a process waited for since it was read last, less what was counted at the children."""
        try:
            times = self._processes.times(tracked.pid)
        except (OSError, ValueError, IndexError):
            return  # the next tick finds it gone
        if times.start_us != tracked.start_us:
            self._retire(tracked)
            return
        tracked.parent = times.parent
        if times.waited_us == tracked.waited_us:
            return
        # It may have waited for a child just now, after that child's own clock was read.
        for child in self._ended(tracked.children):
            self._retire(child)
        more_us = times.waited_us - tracked.waited_us - tracked.counted_us
        tracked.waited_us = times.waited_us
        tracked.counted_us = max(0, -more_us)
        if tracked.part is not None and more_us > 0:
            tracked.part.used_ns += more_us * 1000

    def _ended(self, pids: Iterable[int]) -> list[Tracked]:
        ended = []
        for pid in list(pids):
            tracked = self.by_pid.get(pid)
            try:
                if tracked is not None and self._processes.times(pid).start_us == tracked.start_us:
                    continue
            except (OSError, ValueError, IndexError):
                pass
            if tracked is not None:
                ended.append(tracked)
        return ended

    def _retire(self, tracked: Tracked) -> None:
        """Let go of a process that ended, and note at its parent what of it was counted."""
        if self.by_pid.get(tracked.pid) is not tracked:
            return
        del self.by_pid[tracked.pid]
        if tracked.part is not None:
            tracked.part.sizes.pop(tracked.pid, None)
        if parent := self.by_pid.get(tracked.parent):
            parent.children.discard(tracked.pid)
            parent.counted_us += tracked.own_ns // 1000 + tracked.waited_us
        # Its children have another parent now, which may be one of ours.
        for pid in tracked.children:
            child = self.by_pid.get(pid)
            if child is None:
                continue
            try:
                child.parent = self._processes.times(pid).parent
            except (OSError, ValueError, IndexError):
                continue
            if heir := self.by_pid.get(child.parent):
                heir.children.add(pid)

    def _own_ns(self, pid: int, clock: int, times: Times | None) -> int:
        if self._has_clocks:
            return time.clock_gettime_ns(clock)
        return (times or self._processes.times(pid)).own_us * 1000


def sees_own_pids(procfs: Path) -> bool:
    """Say whether the pids under a /proc are those of the agent's own name space."""
    try:
        return os.readlink(procfs / "self") == str(os.getpid())  # noqa: PTH115  (a text, not a path)
    except OSError:
        return False
