"""The workloads that are cgroups, with their figures."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Finding, Metric, Roots
from joulebook.agent.workloads import figures, kubernetes
from joulebook.agent.workloads.classify import classify
from joulebook.agent.workloads.column import CPU, IO, MEMORY, FileColumn, Member, Past
from joulebook.agent.workloads.cpusets import Cpusets
from joulebook.agent.workloads.hierarchy import Controller, Hierarchies
from joulebook.agent.workloads.inotify import Inotify
from joulebook.agent.workloads.job_facts import SOURCES, JobFacts
from joulebook.agent.workloads.pods import PodFacts
from joulebook.agent.workloads.walk import Walk
from joulebook.agent.workloads.workload import Place, Verdict, Workload, user_name

_NUMBER_BYTES = 32
_CPU_STAT_BYTES = 64  # the first line is enough
_IO_BYTES = 65536
# A job that nobody can tell more of is asked about no longer.
_ASKED_TICKS = 60
# A manager sets a group's cpuset just after making it; later changes are found within so many ticks.
_SETTLING_TICKS = 3
_CPUSET_TICKS = 60

_Opener = tuple[Metric, Controller, Callable[[bytes], int], int]


class Figures:
    """Opens the figures of one cgroup, each where this kernel keeps it."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies) -> None:
        try:
            layered = figures.parse_layered_majors((roots.procfs / "devices").read_bytes())
        except OSError:
            layered = frozenset()
        cpu, memory, io = hierarchies.cpu, hierarchies.memory, hierarchies.io
        self._openers: list[_Opener] = []
        if cpu:
            v2 = cpu.file == "cpu.stat"
            parse = figures.parse_cpu_stat_us if v2 else figures.parse_cpuacct_usage_us
            self._openers.append((CPU, cpu, parse, _CPU_STAT_BYTES if v2 else _NUMBER_BYTES))
        if memory:
            self._openers.append((MEMORY, memory, figures.parse_memory_bytes, _NUMBER_BYTES))
        if io:
            parse_io = figures.parse_io_stat_bytes if io.file == "io.stat" else figures.parse_blkio_bytes
            self._openers.append((IO, io, partial(parse_io, layered=layered), _IO_BYTES))
        self.error: OSError | None = None

    def open(self, paths: str | Mapping[str, str], member: Member, past: Past, *, fresh: bool) -> bool:
        """Add the columns that the member has not and the kernel has; say whether there were any.

        paths: one for all hierarchies, or one by hierarchy.
        """
        there = {column.metric for column in member.columns}
        opened = False
        for metric, controller, parse, size in self._openers:
            path = paths if isinstance(paths, str) else paths.get(controller.key)
            if metric in there or path is None:
                continue
            file = controller.directory(path) / controller.file
            if metric == IO and controller.key and not _counts_io(file):
                continue
            base = past.value(member.workload.id, metric)
            try:
                member.columns.append(FileColumn(metric, file, parse, size, base=base, fresh=fresh))
            except ValueError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
                    self.error = error
                continue
            opened = True
        return opened


def _counts_io(file: Path) -> bool:
    # v1 counts nothing, and lists no device, until the group has a throttle rule.
    try:
        return len(file.read_bytes().splitlines()) > 1
    except OSError:
        return False


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
        # Jobs whose name is not known yet, and for how many ticks they will be asked about.
        self._nameless: dict[str, int] = {}
        self._young: set[str] = set()
        self._cpusets = Cpusets(roots, hierarchies)
        # How many ticks longer a new group's cpuset is looked at.
        self._settling: dict[str, int] = {}
        self._ticks = 0
        self._ids: set[str] = set()
        self.members: dict[str, Member] = {}

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

    def refresh(self, now_us: int, unix_us: int) -> tuple[bool, list[Member]]:
        """Take up and let go; return whether the set of series changed, and who went (still open)."""
        touched = self._walk.refresh(now_us)
        # A manager makes a group first and enables its controllers then, which no event tells.
        young, self._young = self._young, set()
        for path in young:
            touched.setdefault(path, False)
        if touched:
            self._figures.error = None
        changed = False
        gone: list[Member] = []
        for path, fresh in touched.items():
            if path in self._walk.found:
                changed |= self._take_up(path, unix_us, fresh=fresh)
            elif (member := self.members.pop(path, None)) is not None:
                self._ids.discard(member.workload.id)
                self._nameless.pop(path, None)
                self._settling.pop(path, None)
                gone.append(member)
        changed |= self._ask()
        if self._cpusets.worth_asking:
            changed |= self._look_at_cpusets()
        return changed or bool(gone), gone

    def close(self) -> None:
        """Give everything back."""
        self._walk.close()
        for member in self.members.values():
            member.close()

    def _take_up(self, path: str, unix_us: int, *, fresh: bool) -> bool:
        if (member := self.members.get(path)) is None:
            member = Member(replace(self._walk.found[path], start_unix_us=unix_us if fresh else 0), path=path)
            member.workload = replace(member.workload, id=self._free_id(member.workload.id))
            self._young.add(path)
        for column in member.columns:
            if isinstance(column, FileColumn):
                column.renew()
        if not self._figures.open(path, member, self._past, fresh=fresh):
            return False
        self.members[path] = member
        self._ids.add(member.workload.id)
        self._settling[path] = _SETTLING_TICKS
        if self._lacks(member.workload):
            self._nameless.setdefault(path, _ASKED_TICKS)
        return True

    def _ask(self) -> bool:
        """Learn what jobs and pods say of themselves; say whether that changed anything."""
        changed = False
        for path, ticks in list(self._nameless.items()):
            member = self.members[path]
            told = self._facts[member.workload.source].complete(member.workload, path)
            if told != member.workload:
                member.workload, changed = told, True
            if not self._lacks(told) or ticks <= 1:
                del self._nameless[path]
            else:
                self._nameless[path] = ticks - 1
        return changed

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
        self._settling = {path: left - 1 for path, left in self._settling.items() if left > 1}
        return changed

    def _free_id(self, wanted: str) -> str:
        """Keep ids unique on the node: v1 hierarchies may name one container in two ways."""
        free, n = wanted, 1
        while free in self._ids:
            n += 1
            free = f"{wanted}.{n}"
        return free
