"""The workloads that are cgroups, with their figures."""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Finding, Roots
from joulebook.agent.workloads import kubernetes
from joulebook.agent.workloads.classify import classify
from joulebook.agent.workloads.column import CPU, FileColumn, GivenColumn, Member, Past
from joulebook.agent.workloads.cpusets import Cpusets
from joulebook.agent.workloads.hierarchy import Hierarchies
from joulebook.agent.workloads.inotify import Inotify
from joulebook.agent.workloads.job_facts import SOURCES, JobFacts
from joulebook.agent.workloads.opener import Figures
from joulebook.agent.workloads.pods import PodFacts
from joulebook.agent.workloads.tails import Tails
from joulebook.agent.workloads.walk import Walk
from joulebook.agent.workloads.workload import JOB, Place, Verdict, Workload, user_name

# A job that nobody can tell more of is asked about no longer.
_ASKED_OFTEN_TICKS, _ASKED_TICKS = 8, 64
# A manager sets a group's cpuset just after making it; later changes are found within so many ticks.
_SETTLING_TICKS = 3
_CPUSET_TICKS = 60


class Cgroups:
    """Every cgroup that is a workload, from its making to its removal."""

    def __init__(
        self,
        roots: Roots,
        hierarchies: Hierarchies,
        opener: Figures,
        past: Past,
        *,
        job_cgroups: tuple[str, ...] = (),
        lookup_user: Callable[[int], str] = user_name,
        open_inotify: Callable[[], Inotify] = Inotify,
    ) -> None:
        self._cgroupfs = roots.cgroupfs
        self._hierarchies = hierarchies
        self._figures = opener
        self._past = past

        def verdict(path: str) -> Verdict:
            return classify(Place(path, lookup_user, job_cgroups))

        self._walk = Walk(hierarchies.walked, verdict, open_inotify)
        jobs, pods = JobFacts(roots, hierarchies, lookup_user), PodFacts(roots, hierarchies)
        # Who tells what paths do not, by the source of a workload.
        self._facts: dict[str, JobFacts | PodFacts] = {kubernetes.SOURCE: pods} | dict.fromkeys(SOURCES, jobs)
        # Jobs whose name is not known yet, and for how many ticks.
        self._nameless: dict[str, int] = {}
        self._young: set[str] = set()
        self._cpusets = Cpusets(roots, hierarchies)
        # How many ticks longer a new group's cpuset is looked at.
        self._settling: dict[str, int] = {}
        self._ticks = 0
        self._ids: set[str] = set()
        self.tails = None
        if (cpu := hierarchies.cpu) is not None:
            self.tails = Tails(opener.open_cpu, cpu.directory, os.cpu_count() or 1)
        # Newcomers that wait for the next interval; what went in this one and is let go of with the next.
        self._held: dict[str, bool] = {}
        self._leaving: dict[str, None] = {}
        self._newcomers: list[str] = []
        self._buried: list[str] = []
        self._unix_us = 0
        # When jobs that wait for a refresh were first heard of.
        self._noticed_unix_us: dict[str, int] = {}
        self.ended: list[Workload] = []
        self.members: dict[str, Member] = {}
        # Where a member came, went, or became another, until somebody takes it up.
        self.changed: set[str] = set()

    def findings(self) -> tuple[Finding, ...]:
        """Say what stands in the way."""
        if not self._hierarchies.walked:
            reason = f"no cgroup controller for CPU time or memory under {self._cgroupfs}"
            return (Finding("workloads", ABSENT, reason, "mount cgroup2, or the v1 controller cpuacct"),)
        if (error := self._figures.error) is None:
            state = Finding("workloads", WORKING)
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            state = Finding("workloads", SUSPECT, "too many open files", "raise LimitNOFILE of the agent")
        else:
            state = Finding("workloads", UNREADABLE, str(error), f"let the agent read {self._cgroupfs}")
        return (state, self._walk.finding())

    def refresh(self, now_us: int, unix_us: int, *, hold: bool = False) -> tuple[bool, list[Member]]:
        """Take up and let go; return whether the set of series changed, and who went (still open).

        What went since the last call stays for the interval in which it ended, and is in ended. hold: what
        came is for the next interval.
        """
        gone = [self.members.pop(path) for path in self._leaving]
        self.changed |= self._leaving.keys()
        self._leaving, self.ended = {}, []
        for member in gone:
            self._ids.discard(member.workload.id)
            self._past.keep(member.workload.id, member.columns)
        touched = self._held | self._walk.refresh(now_us)
        self._held = {}
        # A manager makes a group first and enables its controllers then, which no event tells.
        young, self._young = self._young, set()
        for path in young:
            touched.setdefault(path, False)
        if touched:
            self._figures.error = None
        changed = False
        died = {path for path, _ in self._walk.died} if self.tails is not None else set()
        for path, fresh in touched.items():
            if path in self._walk.found:
                if hold and fresh and path not in self.members:
                    self._held[path] = fresh
                    self._noticed_unix_us.setdefault(path, unix_us)
                else:
                    changed |= self._take_up(path, unix_us, fresh=fresh)
            elif path in self.members:
                self._leave(path)
            elif path in self._walk.left and path in died:
                changed |= self._pass(path, self._walk.left[path])
        self._keep_account(touched)
        self._noticed_unix_us = {path: self._noticed_unix_us[path] for path in self._held}
        self._unix_us = unix_us
        changed |= self._ask()
        if self._cpusets.worth_asking:
            changed |= self._look_at_cpusets()
        return changed or bool(gone), gone

    def fileno(self) -> int:
        """Return the descriptor that turns readable when something came or went; -1: there is none."""
        return self._walk.fileno()

    def notice(self, now_us: int, unix_us: int) -> bool:
        """Take up what came and went; say whether a job did."""
        job = False
        for path in self._walk.notice(now_us):
            workload = self._walk.found.get(path) or self._walk.left.get(path)
            if workload is not None and workload.kind == JOB:
                job = True
                self._noticed_unix_us.setdefault(path, unix_us)
        return job

    def read_tails(self, now_us: int) -> None:
        """Give what went since the last tick what it used last. All CPU time has just been read."""
        if self.tails is None:
            return
        self.tails.read()
        # What went while the columns were read had its last reading a tick ago.
        self._walk.notice(now_us)
        late, self._walk.died = self._walk.died, []
        for path, at_us in late:
            column = self._cpu_of(path)
            if column is not None and column.gone:
                self.tails.bury(path, at_us, stays=False)
                if path not in self._walk.found:
                    self._leave(path)
            else:
                self._walk.died.append((path, at_us))
        for path, used_us in self.tails.settle(now_us, sure=not self._walk.scanned):
            if (member := self.members.get(path)) is not None:
                for each in member.columns:
                    if each.metric == CPU and isinstance(each, FileColumn | GivenColumn):
                        each.settle(used_us)
        for path in self._buried:
            if path not in self._walk.below:
                self.tails.drop(path)

    def _keep_account(self, touched: Iterable[str]) -> None:
        """Tell what came and went to those that work out tails."""
        walk = self._walk
        self._buried = [path for path, _ in walk.died]
        if self.tails is not None:
            for path, fresh in walk.opened.items():
                if path and not walk.below.get(path, True):
                    self.tails.track(path, fresh=fresh)
            for path in self._newcomers:
                above = path.rpartition("/")[0]
                self.tails.track(above, fresh=walk.opened.get(above, False))
            for path, at_us in walk.died:
                self.tails.bury(path, at_us, stays=path in walk.below.get(path.rpartition("/")[0], ()))
            self.tails.follow(walk.below, {*touched, *walk.born}, self._cpu_of, fresh=not walk.scanned)
        self._newcomers = []
        walk.forget_past()

    def _cpu_of(self, path: str) -> FileColumn | None:
        for column in self.members[path].columns if path in self.members else ():
            if column.metric == CPU and isinstance(column, FileColumn):
                return column
        return None

    def _leave(self, path: str) -> None:
        if path in self._leaving:
            return
        self._nameless.pop(path, None)
        self._settling.pop(path, None)
        self._leaving[path] = None
        self.ended.append(self.members[path].workload)

    def _pass(self, path: str, found: Workload) -> bool:
        """Take up a workload that came and went since the last call."""
        began_unix_us = self._noticed_unix_us.get(path, self._unix_us)
        workload = replace(found, id=self._free_id(found.id), start_unix_us=began_unix_us)
        column = GivenColumn(CPU, self._past.value(workload.id, CPU))
        self.members[path] = Member(workload, [column], path)
        self.changed.add(path)
        self._ids.add(workload.id)
        self._newcomer(path, workload)
        self._leave(path)
        return True

    def _newcomer(self, path: str, workload: Workload) -> None:
        if workload.kind == JOB:
            self._newcomers.append(path)

    def close(self) -> None:
        """Give everything back."""
        self._walk.close()
        if self.tails is not None:
            self.tails.close()
        for member in self.members.values():
            member.close()

    def _take_up(self, path: str, unix_us: int, *, fresh: bool) -> bool:
        if (member := self.members.get(path)) is None:
            began_unix_us = self._noticed_unix_us.get(path, unix_us) if fresh else 0
            found = self._walk.found[path]
            member = Member(
                replace(found, id=self._free_id(found.id), start_unix_us=began_unix_us), path=path
            )
            self._young.add(path)
        for column in member.columns:
            if isinstance(column, FileColumn):
                column.renew()
        if not self._figures.open(path, member, self._past, fresh=fresh):
            return False
        if path not in self.members:
            self._newcomer(path, member.workload)
        self.members[path] = member
        self.changed.add(path)
        self._ids.add(member.workload.id)
        self._settling[path] = _SETTLING_TICKS
        if self._lacks(member.workload):
            self._nameless.setdefault(path, 0)
        return True

    def _ask(self) -> bool:
        """Learn what jobs and pods say of themselves; say whether that changed anything."""
        changed = False
        for path, asked in list(self._nameless.items()):
            self._nameless[path] = asked + 1
            # At each of the first ticks, and then at the 16th, the 32nd and so on.
            if asked > _ASKED_OFTEN_TICKS and asked & (asked - 1):
                continue
            member = self.members[path]
            told = self._facts[member.workload.source].complete(member.workload, path)
            if told != member.workload:
                member.workload, changed = self._renamed(member.workload, told), True
                self.changed.add(path)
            if not self._lacks(told) or asked >= _ASKED_TICKS:
                del self._nameless[path]
        return changed

    def _renamed(self, known: Workload, told: Workload) -> Workload:
        """Return what is told of a workload under an id that nothing else on the node has."""
        if told.id != known.id:
            self._ids.discard(known.id)
            told = replace(told, id=self._free_id(told.id))
            self._ids.add(told.id)
        return told

    def _lacks(self, workload: Workload) -> bool:
        facts = self._facts.get(workload.source)
        return facts is not None and facts.lacks(workload)

    def _look_at_cpusets(self) -> bool:
        """Look where new groups may run, and others in turn; say whether that changed anything."""
        turn = list(self.members)[self._ticks % _CPUSET_TICKS :: _CPUSET_TICKS]
        self._ticks += 1
        changed = False
        for path in {*turn, *self._settling}:
            member = self.members[path]
            packages = self._cpusets.packages_of(path)
            if packages != member.workload.packages:
                member.workload, changed = replace(member.workload, packages=packages), True
                self.changed.add(path)
        self._settling = {path: left - 1 for path, left in self._settling.items() if left > 1}
        return changed

    def _free_id(self, wanted: str) -> str:
        """Keep ids unique on the node: v1 hierarchies may name one container in two ways."""
        free, n = wanted, 1
        while free in self._ids:
            n += 1
            free = f"{wanted}.{n}"
        return free
