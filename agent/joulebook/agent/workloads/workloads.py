"""Every workload of the node and its figures, for the sampler."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from joulebook.agent.source import Finding, Roots, Series
from joulebook.agent.workloads.cgroups import Cgroups
from joulebook.agent.workloads.column import Member, Past
from joulebook.agent.workloads.containment import inherit_packages
from joulebook.agent.workloads.disk_users import DiskUsers
from joulebook.agent.workloads.gpuholders import Holder
from joulebook.agent.workloads.gpus import Gpu, Gpus
from joulebook.agent.workloads.hierarchy import locate
from joulebook.agent.workloads.holders import holders_of
from joulebook.agent.workloads.inotify import Inotify
from joulebook.agent.workloads.itself import members_of_agent
from joulebook.agent.workloads.launchers.launchers import Launchers
from joulebook.agent.workloads.opener import Figures
from joulebook.agent.workloads.podresources import PodResources
from joulebook.agent.workloads.readings import Readings
from joulebook.agent.workloads.roll import Roll
from joulebook.agent.workloads.running import RunRefusedError, Runs
from joulebook.agent.workloads.runs import LostRun, Request
from joulebook.agent.workloads.runwire import BeginRun, EndRun, Reply
from joulebook.agent.workloads.settings import WorkloadsConfig
from joulebook.agent.workloads.whereabouts import Whereabouts
from joulebook.agent.workloads.workload import JOB, Workload, user_name

UNKNOWN_STATUS = -1

_placed, _series = attrgetter("placed"), attrgetter("series")


class Workloads:
    """What uses the node. probe() once; each tick refresh(), and read()."""

    def __init__(
        self,
        roots: Roots,
        config: WorkloadsConfig | None = None,
        *,
        own_pids: Sequence[int] = (),
        gpus: Callable[[], Sequence[Gpu]] = tuple,
        disks: Mapping[bytes, str] | None = None,
        lookup_user: Callable[[int], str] = user_name,
        open_inotify: Callable[[], Inotify] = Inotify,
        unix_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """disks: the domain of each disk by its number, "8:0"."""
        config = config or WorkloadsConfig()
        hierarchies = locate(roots.cgroupfs)
        self._cpu_hierarchy, self._device_hierarchy = hierarchies.cpu, hierarchies.devices
        self._gpus = Gpus(roots.procfs, gpus, pods=PodResources(config.podresources), sysfs=roots.sysfs)
        self._past = Past()
        opener = Figures(roots, hierarchies, disks)
        self._cgroups = Cgroups(
            roots,
            hierarchies,
            opener,
            self._past,
            job_cgroups=config.job_cgroups,
            lookup_user=lookup_user,
            open_inotify=open_inotify,
        )
        self._runs = Runs(roots, hierarchies, opener, self._past)
        key = hierarchies.cpu.key if hierarchies.cpu else ""
        self._where = Whereabouts(roots.procfs, key, self._cgroups, self._runs, own_pids)
        self._launchers = Launchers(
            roots,
            config.launchers,
            self._past,
            self._where.place_of,
            node=config.node,
            lookup_user=lookup_user,
        )
        self._agent = members_of_agent(roots.procfs, key, own_pids, unix_us())
        self._lookup_user = lookup_user
        self._unix_us = unix_us
        self._begun = False
        self._hold = False
        self._ending: list[tuple[str, int, int]] = []
        self._ended: list[tuple[str, int, int]] = []
        self._readings = Readings(opener)
        self._roll = Roll()
        self._disk_users = DiskUsers()
        self._baseline: list[int] = []
        self.workloads: tuple[Workload, ...] = ()
        # Of each workload; of all, with pair_series at the end.
        self.blocks: list[tuple[Series, ...]] = []
        self.series: tuple[Series, ...] = ()
        self._arrange()

    def probe(self) -> tuple[Finding, ...]:
        """Say how workloads come to notice, and what stands in the way. Cheap: ask again after a refresh."""
        return (*self._cgroups.findings(), *self._launchers.findings(), *self._gpus.findings())

    def refresh(self, now_us: int) -> bool:
        """Take up what appeared, let go of what vanished since the last call; say whether the series changed.

        After True, end the report at the previous tick and begin a layout with baseline(). now_us is
        the boot clock.
        """
        unix_us = self._unix_us()
        changed, gone = self._cgroups.refresh(now_us, unix_us, hold=self._hold)
        gone += self._runs.settle(now_us)
        anew, parts, applications = self._launchers.refresh(now_us, unix_us)
        changed |= anew
        gone += parts
        self._ended += [(application, unix_us, UNKNOWN_STATUS) for application in applications]
        for member in gone:
            self._past.keep(member.workload.id, member.columns)
            member.close()
        changed |= self._gpus.refresh(now_us, self._workload_of, self._holders)
        if not (changed or gone or self._begun):
            return False
        self._begun = False
        self._arrange()
        return True

    @property
    def unsure_us(self) -> int:
        """Return how much CPU time of workloads that ended may belong to others that ended with them."""
        return self._cgroups.tails.unsure_us if self._cgroups.tails else 0

    def baseline(self) -> list[int]:
        """Return the readings of `series` at the previous tick."""
        return self._baseline.copy()

    def read(self, now_us: int) -> list[int]:
        """Return one value a series."""
        self._launchers.read()
        self._readings.read_cpu()
        self._cgroups.read_tails(now_us)
        unix_us = self._unix_us()
        for workload in self._cgroups.ended:
            if workload.kind == JOB:
                self._ended.append((workload.id, unix_us, UNKNOWN_STATUS))
        self._cgroups.ended = []
        self._readings.read_rest()
        self._runs.read_ended()
        self._disk_users.note(self._readings.moved)
        if self._ending:  # told with the interval that holds their last use, never before
            self._ended += self._ending
            self._ending = []
        return self.values()

    def values(self) -> list[int]:
        """Return what the series showed at the last reading."""
        return self._readings.values() + self._gpus.values() + self._disk_users.values()

    @property
    def pair_series(self) -> tuple[Series, ...]:
        """Return the last ones of `series`: of workloads with a GPU or a disk each."""
        return self._gpus.series + self._disk_users.series

    def first_moved(self) -> list[tuple[int, int]]:
        """Take up who used a disk for the first time; return the readings at the two last ticks.

        Their series are at the end of all from now on, and begin at the tick before.
        """
        if came := self._disk_users.first_moved():
            self.series += self._disk_users.series[-len(came) :]
        return came

    def know_domains(self, names: frozenset[str]) -> None:
        """Tell of pairs with these domains only, from now on."""
        self._gpus.know_domains(names)
        self._disk_users.know_domains(names)
        self._put_in_order()

    def serve(self, request: Request, tick: Callable[[], None]) -> None:
        """Answer a request of the run socket, with a tick at the very edge.

        tick() is the sampler's whole tick: refresh() and read(). A run begins after one, so that its
        first interval begins there; it ends before one, which takes its last readings.
        """
        message = request.message
        match message:
            case BeginRun():
                try:
                    self._runs.check(message, request.pid)
                    tick()
                    reply = Reply(id=self.begin_run(message, request.pid, request.uid))
                except RunRefusedError as refused:
                    reply = Reply(error=str(refused))
            case EndRun():
                self.end_run(message)
                tick()
                reply = Reply(id=message.id)
            case LostRun():
                self.end_run(message)
                tick()
                return
        request.reply(reply)

    def fileno(self) -> int:
        """Return the descriptor that turns readable when cgroups came or went; -1: nothing tells of that."""
        return self._cgroups.fileno()

    def notice(self, now_us: int) -> bool:
        """Take up what came and went without a tick; say whether a job did. now_us is the boot clock."""
        return self._cgroups.notice(now_us, self._unix_us())

    def tick_at_edge(self, tick: Callable[[], None]) -> None:
        """Do a tick at which jobs that went end and after which jobs that came begin."""
        self._hold = True
        try:
            tick()
        finally:
            self._hold = False

    def begin_run(self, message: BeginRun, client_pid: int, uid: int) -> str:
        """Take up a run from this moment; return the id it got. The next refresh() brings its series."""
        named = message.user if uid == 0 else ""
        run = self._runs.begin(message, client_pid, named or self._lookup_user(uid), self._unix_us())
        run.outer = run.outer or self._launchers.workload_of(client_pid)
        self._begun = True
        self._gpus.hurry()
        return run.member.workload.id

    def end_run(self, message: EndRun | LostRun) -> None:
        """End a run at this moment; the next read() gives its last values, the refresh() after lets it go."""
        usage_us, status = 0, UNKNOWN_STATUS
        if isinstance(message, EndRun):
            usage_us, status = message.usage_us, message.exit_status
        self._gpus.hurry()
        if self._runs.end(message.id, usage_us):
            self._ending.append((message.id, self._unix_us(), status))

    def ended(self) -> list[tuple[str, int, int]]:
        """Return (workload id, end_unix_us, exit status or −1) of the jobs that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Give every descriptor back."""
        self._cgroups.close()
        self._gpus.close()
        self._runs.close()
        self._launchers.close()
        self._readings.close()
        for member in self._agent:
            member.close()

    def _arrange(self) -> None:
        """Put the series of all members in order: the agent, cgroups from outside in, applications, runs."""
        changed = [(path, self._cgroups.members.get(path)) for path in sorted(self._cgroups.changed)]
        self._cgroups.changed.clear()
        for path, member in changed:
            self._roll.change(path, member)
        self._place_groups([path for path, _ in changed])
        groups = self._roll.members
        others = [part.member for part in self._launchers.parts.values()]
        others += [run.member for run in self._runs.by_id.values()]
        self._place_others(others)
        self._readings.arrange(self._agent, groups, others, changed)
        members = [*self._agent, *groups, *others]
        workloads = list(map(_placed, members))
        inherit_packages(workloads)
        self.workloads = self._gpus.holding(workloads)
        self.blocks = list(map(_series, members))
        self._gpus.arrange(self.workloads)
        self._disk_users.arrange()
        self._put_in_order()
        self._baseline = self.values()

    def _put_in_order(self) -> None:
        self.series = (*chain.from_iterable(self.blocks), *self.pair_series)

    def _place_groups(self, changed: list[str]) -> None:
        """Find the parents of groups that changed, and of those that lie in them."""
        if (containment := self._where.containment()) is not self._where.placed_by:
            self._where.placed_by, changed = containment, [""]
        for path in changed:
            for member in self._roll.at_or_below(path):
                containment.place(member)

    def _place_others(self, others: list[Member]) -> None:
        runs = self._runs.by_id
        around = {*runs, *(part.member.workload.id for part in self._launchers.parts.values())}
        for member in (*self._agent, *others):
            run = runs.get(member.workload.id)
            if run is not None and run.outer in around:
                member.place(run.outer)
            else:
                member.place(self._where.placed_by.around(member))

    def _holders(self) -> Iterator[Holder]:
        """Yield the workloads that may hold GPUs, with where to ask."""
        parts = self._launchers.parts.values()
        groups, runs = self._cgroups.members, self._runs.by_id.values()
        return holders_of(groups, runs, parts, self._cpu_hierarchy, self._device_hierarchy)

    def _workload_of(self, pid: int) -> str:
        return self._where.workload_of(pid, self._launchers.workload_of)
