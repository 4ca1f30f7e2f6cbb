"""A collector: the program's own ingest, on a simulated network and a store that others may share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from joulebook.agent.way import Target
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.service import IngestService, Request
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.protocol import StoreError
from tests.simulation.loop import Process
from tests.simulation.network import BrokenPipeOfLinkError, Connection
from tests.simulation.stores import Opened

if TYPE_CHECKING:
    from tests.simulation.world import World

_WALL_US = 1_790_000_000_000_000


class Host:
    """Where a collector runs, and is started again."""

    def __init__(self, world: World, target: Target) -> None:
        self.world, self.target = world, target
        self.wall_offset_us = 0
        self.collector: Collector | None = None

    def start(self) -> None:
        """Start the collector."""
        if self.collector is None:
            self.collector = Collector(self)

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        if self.collector is not None:
            self.collector.process.die()

    def wall_ns(self) -> int:
        """Return what the host takes for the wall clock."""
        return (_WALL_US + int(self.world.loop.time() * 1e6) + self.wall_offset_us) * 1000


class Collector:
    """One life of a collector."""

    def __init__(self, host: Host) -> None:
        self.host, self.world = host, host.world
        self.process = Process(f"collector {host.target[0]}", self._died)
        self.stats = IngestStats()
        self.committer: Committer | None = None
        self._service: IngestService | None = None
        self._connections: list[Connection] = []
        self.most_answers = 0
        self.store: Opened | None = None
        self.world.loop.spawn(self.process, self._main())

    def _died(self) -> None:
        self.world.trace(self.process.name, "died")
        self.host.collector = None
        self.world.network.servers.pop(self.host.target, None)
        for connection in self._connections:
            self.world.network.later(connection.link, connection.break_client)

    async def _main(self) -> None:
        world, plan = self.world, self.world.plan
        self.store = world.mutation.store(world.store.opened(self.process))
        while True:
            try:
                self.committer = world.mutation.committer(
                    Committer(
                        cast(Any, self.store),
                        self.stats,
                        commit_interval_s=plan.commit_interval_s,
                        queue_reports=plan.queue_reports,
                        clock_ns=lambda: int(world.loop.time() * 1e9),
                        wall_clock_ns=self.host.wall_ns,
                    )
                )
                break
            except StoreError:
                # The service manager starts it again.
                await asyncio.sleep(1.0)
        self._service = IngestService(
            self.committer, self.stats, window=plan.window, wall_clock_ns=self.host.wall_ns
        )
        world.network.servers[self.host.target] = self
        world.trace(self.process.name, "listens")
        await self.committer.run()

    def accept(self, connection: Connection) -> None:
        """Take a connection."""
        self._connections.append(connection)
        task = self.world.loop.spawn(self.process, self._serve(connection))

        def lost() -> None:
            task.cancel()

        connection.lost = lost

    async def _serve(self, connection: Connection) -> None:
        """Do as the gRPC server does: hand requests in as they are asked for, and answers out."""
        assert self._service is not None

        async def requests() -> AsyncIterator[Request]:
            while (data := await connection.up.receive()) is not None:
                yield Request.FromString(data)

        try:
            async with aclosing(
                cast(Any, self._service.StreamReports(requests(), cast(Any, None)))
            ) as answers:
                async for response in answers:
                    self.world.oracle.answered(response)
                    await connection.down.send(response.SerializeToString())
            await connection.down.send(None)
        except BrokenPipeOfLinkError:
            return
        finally:
            connection.lost = lambda: None
            if connection in self._connections:
                self._connections.remove(connection)
