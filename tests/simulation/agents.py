"""A node with its clocks, hardware and disk, and the agent that runs there, dies, and is started again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.outbox import Entry
from joulebook.agent.pace import Pace
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Meter as MeterProtocol
from joulebook.agent.source import Source
from joulebook.agent.spool.keeper import Bounds
from joulebook.agent.spool.spool import Spool
from joulebook.agent.stream import WINDOW
from joulebook.agent.wall_clock import WallClock
from joulebook.agent.way import Target, Way
from joulebook.agent.workloads.workloads import Workloads
from joulebook.v1 import report_pb2
from tests.simulation.disk import Disk, DiskFiles
from tests.simulation.disk_use import Disks, DiskUsers
from tests.simulation.loop import Process
from tests.simulation.meters import Hardware, Jobs, Meter, Usage
from tests.simulation.network import Line

if TYPE_CHECKING:
    from tests.simulation.world import World

_WALL_US = 1_790_000_000_000_000
_FLUSH_S = 5.0
_HOST = report_pb2.Host(logical_cpus=8, packages=1, memory_bytes=1 << 36)


class Node:
    """A machine: it has power or not, and a boot clock while it has."""

    def __init__(self, world: World, number: int, targets: list[Target]) -> None:
        self.world = world
        self.name = f"n{number}"
        self.targets = targets
        self.rng = Random(f"{world.plan.seed} {self.name}")
        self.disk = Disk(Random(f"{world.plan.seed} {self.name} disk"))
        self.rate = world.plan.clock_rates[number]
        self.wall_offset_us = 0
        self._boots = 0
        self._booted_s = 0.0
        self.boot = b""
        self.hardware: Hardware
        self.agent: Agent | None = None
        self.powered = False
        self.power_up()

    def power_up(self) -> None:
        """Boot: another boot id, a boot clock from near 0, and counters that begin anew."""
        self._boots += 1
        self.boot = bytes([*self.name.encode(), self._boots]).ljust(16, b"\0")
        self._booted_s = self.world.loop.time()
        self.hardware = Hardware(self.world.plan.parts, self.rng)
        self.powered = True

    def boot_us(self) -> int:
        """Return the boot clock."""
        return 3_000_000 + int((self.world.loop.time() - self._booted_s) * self.rate * 1e6)

    def wall_ns(self) -> int:
        """Return what the node takes for the wall clock."""
        return (_WALL_US + int(self.world.loop.time() * 1e6) + self.wall_offset_us) * 1000

    def start(self) -> None:
        """Start the agent."""
        if not self.powered:
            self.power_up()
        if self.agent is None:
            self.agent = Agent(self)

    def kill(self) -> None:
        """Kill the agent, as kill -9 does."""
        if self.agent is not None:
            self.agent.process.die()

    def cut_power(self) -> None:
        """End the machine without a word."""
        if self.agent is not None:
            self.agent.silent = True
            self.agent.process.die()
        self.disk.cut_power()
        self.world.oracle.power_was_cut(self)
        self.powered = False


class Agent:
    """One life of the agent: the program's own parts, joined as its main does."""

    def __init__(self, node: Node) -> None:
        self.node, self.world = node, node.world
        world, plan = node.world, node.world.plan
        self.process = Process(f"agent {node.name}", self._died)
        self.silent = False
        self.line = Line(world.network, node.name, self.process)
        self.files = DiskFiles(world.loop, node.disk, self.process, node.rng)
        self.disk_rng = Random(f"{plan.seed} {node.name} {node.boot_us()} disks")
        self.meter = Meter(node.hardware, node.rng, self.disk_rng)
        self.spool: Spool | None = None
        self.way: Way | None = None
        self._plan = plan
        self._keeping: asyncio.Future[None] | None = None
        self.ending = False
        self.tick_s = plan.tick_s
        self.streaming: asyncio.Task[None] | None = None
        world.oracle.session(node, self.meter)
        world.loop.spawn(self.process, self._main())

    def _died(self) -> None:
        self.world.trace(self.process.name, "died")
        self.node.agent = None
        if not self.silent:
            self.world.network.client_died(self.process)
        self.world.oracle.agent_died(self)

    def _open(self, directory: Path) -> Spool:
        plan = self._plan
        return Spool(
            directory,
            boot=self.node.boot,
            bounds=Bounds(plan.spool_bytes, plan.spool_age_s * 1_000_000),
            fsync_us=int(plan.fsync_s * 1e6),
            memory_reports=plan.memory_reports,
            clock=self.node.boot_us,
            files=self.files,
        )

    async def _main(self) -> None:
        world, node, plan = self.world, self.node, self._plan
        self.spool = spool = self._open(Path("spool"))
        self.files.locked = spool._lock.locked
        spool = self.world.mutation.spool(spool)
        self.way = way = Way(
            self.line,
            node.targets,
            spool,
            Pace(plan.replay_per_s, WINDOW, world.loop.time),
            jitter=node.rng.uniform,
        )
        wall_clock = WallClock(Path("spool"), self.files)
        usage = Usage(node.rng)
        jobs = Jobs(node.rng, plan.job_changes, DiskUsers(plan.disks, self.disk_rng))

        def emit(report: report_pb2.Report, layout: bytes) -> None:
            world.oracle.cut(node, report)
            wall_clock.stamp(report)
            spool.put(Entry(report, layout))
            world.oracle.put(node, report, spool)

        sources: list[Source] = [usage, Disks(plan.disks, self.disk_rng), self.meter]
        self.sampler = sampler = Sampler(
            node.name,
            node.boot,
            _HOST,
            [(source, source.probe()) for source in sources],
            [cast(MeterProtocol, self.meter)],
            cast(Workloads, jobs),
            emit,
            ticks_per_report=plan.ticks_per_report,
            intensities=Intensities(_HOST.logical_cpus),
            clock=node.boot_us,
            wall_clock_ns=node.wall_ns,
        )
        sampler.start()
        spool.on_change(way.stir)
        spool.keeper.wake()
        self._keep()
        self.streaming = asyncio.create_task(way.run())
        world.trace(self.process.name, "runs")
        while not self.ending:
            await asyncio.sleep(self.tick_s * node.rng.uniform(0.9, 1.1))
            if not self.ending:
                self.tick()
            self._keep()

    def tick(self) -> None:
        """Do as the agent does on a tick."""
        assert self.spool is not None
        self.sampler.tick()
        for finding in self.spool.findings():
            self.sampler.note(finding)

    def _keep(self) -> None:
        """Give the keeper's thread its turn where it was woken."""
        assert self.spool is not None
        if self.streaming is not None and self.streaming.done() and not self.ending:
            self.world.oracle.problems.append(f"{self.node.name}: streams no more: {self.streaming!r}")
        if self._keeping is not None and self._keeping.done() and (error := self._keeping.exception()):
            self.world.oracle.problems.append(f"{self.node.name}: the spool's keeper: {error!r}")
            self._keeping = None
        if self.spool.keeper.is_due and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.ensure_future(
                self.world.loop.run_in_executor(None, self._turn, self.spool)
            )

    def _turn(self, spool: Spool) -> None:
        before, failures = self.world.oracle.put_so_far(self.node), self.node.disk.failures
        was_in_memory = bool(spool.trouble)
        spool.keeper.turn()
        if not was_in_memory and not spool.trouble and self.node.disk.failures == failures:
            self.world.oracle.synced(self.node, before)
        else:
            self.world.oracle.sync_failed(self.node, before)

    async def stop(self, flush_s: float = _FLUSH_S) -> None:
        """End as on SIGTERM: the last readings, some time to send, the last sync."""
        self.ending = True
        self.world.trace(self.process.name, "stops")
        assert self.spool is not None
        assert self.way is not None
        assert self.streaming is not None
        self.tick()
        self.sampler.cut()
        self.way.stop()
        _, late = await asyncio.wait([self.streaming], timeout=flush_s)
        if late:
            self.streaming.cancel()
            await asyncio.wait([self.streaming])
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        self.spool.close()
        self.process.die()
