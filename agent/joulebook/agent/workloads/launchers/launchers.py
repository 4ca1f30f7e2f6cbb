"""Applications by their launchers, and marked processes: found, followed, apart from what contains them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding, Roots
from joulebook.agent.workloads.column import CPU, Member, Past
from joulebook.agent.workloads.launchers import marked
from joulebook.agent.workloads.launchers.claim import Claim, Here, own_address
from joulebook.agent.workloads.launchers.drivers import Drivers
from joulebook.agent.workloads.launchers.found import Found
from joulebook.agent.workloads.launchers.members import Members, Part, sees_own_pids
from joulebook.agent.workloads.launchers.place import Place
from joulebook.agent.workloads.launchers.process import Birth, Process, Processes
from joulebook.agent.workloads.launchers.table import LAUNCHERS
from joulebook.agent.workloads.workload import JOB, Workload, user_name

_PAUSE_FACTOR = 200
_LONGEST_PAUSE_US = 30_000_000
# Who marks processes at random shall not fill the books.
_MAX_PARTS = 1000
_FIX = "give the agent CAP_SYS_PTRACE (systemd: AmbientCapabilities=CAP_SYS_PTRACE), or run it as root"


class Launchers:
    """Every application of the node. refresh() and read() each tick, in that order."""

    def __init__(
        self,
        roots: Roots,
        names: Sequence[str],
        past: Past,
        place_of: Callable[[int], Place | None],
        *,
        node: str = "",
        address: Callable[[], str] = own_address,
        lookup_user: Callable[[int], str] = user_name,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """names: the launchers to look for; place_of: what contains a process, None where it is gone."""
        self._recognisers = [(name, LAUNCHERS[name]) for name in LAUNCHERS if name in names]
        self._past = past
        self._place_of = place_of
        self._lookup_user = lookup_user
        self._clock_ns = clock_ns
        self._procfs = roots.procfs
        self._processes = Processes(roots.procfs)
        own = sees_own_pids(roots.procfs)
        self._found = Found(roots.procfs, self._processes, sees_own_pids=own)
        self._members = Members(roots.procfs, self._processes, has_clocks=own)
        self._drivers = Drivers(roots.procfs)
        self._here = Here(
            node,
            address() if names else "",
            self._processes.network,
            Processes(Path("/proc")).network(os.getpid()),
        )
        self._due_us = 0
        # When the last tick was, on the boot clock: what began since then is this interval's alone.
        self._ticked_us = 0
        self._now_us = 0
        self._changed = False
        self._too_many = False
        # By application and the group of what contains it.
        self.parts: dict[tuple[str, str], Part] = {}

    def refresh(self, now_us: int, unix_us: int) -> tuple[bool, list[Member], list[str]]:
        """Look for new processes where that is due, and let go of what ended.

        Return whether the set of series changed, the parts that went and the applications that ended.
        """
        self._now_us, self._unix_us = now_us, unix_us
        self._changed = False
        if self._recognisers and now_us >= self._due_us:
            began_ns = self._clock_ns()
            for pid, birth, is_new in self._found.look():
                if is_new:
                    self._take_up(pid, birth)
                elif pid in self._members.by_pid:
                    self._follow(pid)
            for pid, claim in self._drivers.late(now_us):
                self._join_all(pid, claim)
            took_us = (self._clock_ns() - began_ns) // 1000
            # A half percent of one CPU, and each tick where there are few processes. The first look is at all
            # that there are, once.
            pause_us = min(took_us * _PAUSE_FACTOR, _LONGEST_PAUSE_US) if self._ticked_us else 0
            self._due_us = now_us + pause_us
        empty = [key for key, part in self.parts.items() if not part.sizes]
        gone = [self.parts.pop(key).member for key in empty]
        living = {application for application, _ in self.parts}
        ended = list(dict.fromkeys(each for each, _ in empty if each not in living))
        return self._changed or bool(gone), gone, ended

    def read(self) -> None:
        """Bring the CPU time of all parts up to date."""
        self._ticked_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        if self._members.by_pid:
            self._members.read()

    def workload_of(self, pid: int) -> str:
        """Return the workload that a process is of; "" for none of an application."""
        tracked = self._members.by_pid.get(pid)
        return tracked.part.member.workload.id if tracked is not None and tracked.part is not None else ""

    def findings(self) -> tuple[Finding, ...]:
        """Say whether environments can be read."""
        if not self._recognisers:
            return ()
        if self._too_many:
            reason = f"more than {_MAX_PARTS} applications at once: the others are part of what contains them"
            return (Finding("workloads.launchers", SUSPECT, reason, "look who sets JOULEBOOK_JOB so often"),)
        if not self._processes.denied:
            return (Finding("workloads.launchers", WORKING),)
        reason = (
            "the environment of other users' processes may not be read: "
            "what is told by JOULEBOOK_JOB, Flux, torchrun, Dask or MPI there is not known"
        )
        return (Finding("workloads.launchers", UNREADABLE, reason, _FIX),)

    def close(self) -> None:
        """Give the descriptor back."""
        self._found.close()

    def _take_up(self, pid: int, birth: Birth) -> None:
        """Look what a process is that is new, or executes another program now."""
        outer = self._members.by_pid.get(birth.parent)
        process = self._processes.process(pid, birth)
        if process is None:
            return
        claim = self._claim(process)
        # An application within an application is part of it; only a mark stands out.
        if outer is not None and (claim is None or claim.source != marked.SOURCE):
            if pid not in self._members.by_pid:
                self._join(pid, outer.part.application if outer.part else "", None)
        elif claim is None:
            return
        elif claim.is_driver:
            if (known := self._drivers.wait(pid, claim, self._now_us)) is not None:
                self._join_all(pid, replace(claim, id=known.id))
        else:
            self._join_all(pid, claim)
            for driver, of_driver in self._drivers.named(claim):
                self._join_all(driver, replace(of_driver, id=claim.id))

    def _began_unix_us(self, pid: int) -> int:
        """Return when a process began; 0 where it is gone."""
        try:
            start_us = self._processes.birth(pid).start_us
        except (OSError, ValueError, IndexError):
            return 0
        return self._unix_us - max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 - start_us)

    def _claim(self, process: Process) -> Claim | None:
        for _, recognise in self._recognisers:
            if claim := recognise(process, self._here):
                return claim
        return None

    def _join_all(self, pid: int, claim: Claim) -> None:
        """Have a process and those that it says belong to it be parts of its application."""
        for each in (*claim.also, pid):
            self._join(each, claim.id, claim)

    def _join(self, pid: int, application: str, claim: Claim | None) -> None:
        """Have a process and all that it started be of an application; claim: it says so itself."""
        tracked = self._members.by_pid.get(pid)
        if tracked is not None and tracked.part is not None and tracked.part.application == application:
            return
        place = self._place_of(pid)
        if place is None:
            return
        part = None
        if claim is not None:
            if place.is_job or place.in_run:
                return
            part = self._part(application, place, pid, claim)
        elif application and not place.is_job:
            part = self._part_beside(pid, application, place)
        if tracked is not None and part is not None:
            self._members.move(pid, part)
        elif not self._members.add(pid, part, since_us=self._ticked_us or 1 << 62):
            if part is not None and not part.sizes:
                del self.parts[part.application, part.member.path]
            return
        for child in self._found.children(pid):
            self._join_child(child, application)

    def _follow(self, pid: int) -> None:
        """Note where a young process has been moved: its launcher does that just after it was started."""
        part, place = self._members.by_pid[pid].part, self._place_of(pid)
        if part is None or place is None or place.in_run or place.path == part.member.path:
            return
        beside = None if place.is_job else self._part_beside(pid, part.application, place)
        self._members.move(pid, beside)

    def _join_child(self, pid: int, application: str) -> None:
        """Have what was started earlier follow, unless it is of another application."""
        tracked = self._members.by_pid.get(pid)
        if tracked is None or tracked.part is None:
            self._join(pid, application, None)

    def _part_beside(self, pid: int, application: str, place: Place) -> Part | None:
        """Return the part of a process that others of the application started."""
        if place.in_run:  # the run is booked apart from its parent's part
            parent = self._members.by_pid.get(self._found.parents.get(pid, 0))
            return parent.part if parent is not None else None
        known = self.parts.get((application, place.path))
        if known is None:
            others = (part.member.workload for key, part in self.parts.items() if key[0] == application)
            if (beside := next(others, None)) is not None:
                known = self._part(application, place, pid, Claim(application, beside.source, beside.name))
        return known

    def _part(self, application: str, place: Place, pid: int, claim: Claim) -> Part | None:
        """Return the application's part in a place, made if need be; None: there are too many."""
        part = self.parts.get((application, place.path))
        if part is not None:
            workload = part.member.workload
            if claim.name and not workload.name:
                part.member.workload, self._changed = replace(workload, name=claim.name), True
            return part
        if len(self.parts) >= _MAX_PARTS:
            self._too_many = True
            return None
        taken = {each.member.workload.id for each in self.parts.values()}
        free, n = application, 1
        while free in taken:
            n += 1
            free = f"{application}+{n}"
        try:
            user = self._lookup_user(self._processes.uid(pid))
        except OSError:
            user = ""
        workload = Workload(
            free,
            JOB,
            claim.source,
            claim.name,
            user,
            job=application if free != application else "",
            start_unix_us=self._began_unix_us(pid),
        )
        part = Part(application, workload, place.path, self._past.value(free, CPU), self._procfs)
        self.parts[application, place.path] = part
        self._changed = True
        return part
