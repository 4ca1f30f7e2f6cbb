"""Connections between agents and collectors: each direction in order, until it breaks, as with TCP."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol

from grpclib.exceptions import StreamTerminatedError

from joulebook.agent.stream import Request, Response
from joulebook.agent.way import Target
from tests.simulation.loop import Loop, Process

# Messages that a direction holds before its writer waits: HTTP/2's flow control.
CAPACITY = 32


class BrokenPipeOfLinkError(Exception):
    """The connection is broken, and this end knows it."""


class Link:
    """The path between a node and a collector."""

    def __init__(self) -> None:
        self.cut = False
        self.slow_s = 0.02
        self.connections: list[Connection] = []


class Pipe:
    """One direction of a connection."""

    def __init__(self, loop: Loop, link: Link, rng: Random, network: Process) -> None:
        self._loop, self._link, self._rng, self._network = loop, link, rng, network
        self._arrived: deque[bytes | None] = deque()
        self._held: deque[bytes | None] = deque()
        self._load = 0
        self._last_s = 0.0
        self._waiters: list[asyncio.Future[None]] = []
        self.swallows = False
        self.reader_broken = self.writer_broken = False
        self.most = 0

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Have both ends look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def send(self, data: bytes | None) -> None:
        """Put a message in; wait while there is no room."""
        while self._load >= CAPACITY and not self.writer_broken:
            await self._change()
        if self.writer_broken:
            raise BrokenPipeOfLinkError
        self._load += 1
        self.most = max(self.most, self._load)
        # Whatever becomes of the sender: what it sent is on its way.
        self._last_s = max(self._last_s, self._loop.time() + self._rng.random() * self._link.slow_s)
        self._loop.call_at(self._last_s, self._arrive, data, context=self._network.context)

    def _arrive(self, data: bytes | None) -> None:
        if self.swallows:
            return
        if self._link.cut or self._held:
            self._held.append(data)
            return
        self._arrived.append(data)
        self.wake()

    def release(self) -> None:
        """Let through what was sent while the link was cut."""
        if not self.swallows:
            self._arrived.extend(self._held)
            self._held.clear()
            self.wake()

    async def receive(self) -> bytes | None:
        """Return the next message; None: there are no more."""
        while not self._arrived:
            if self.reader_broken:
                raise BrokenPipeOfLinkError
            await self._change()
        self._load -= 1
        self.wake()
        return self._arrived.popleft()


class Connection:
    """A connection, and which of its ends knows that it is broken."""

    def __init__(self, loop: Loop, link: Link, rng: Random, network: Process) -> None:
        self.link = link
        self.up = Pipe(loop, link, rng, network)
        self.down = Pipe(loop, link, rng, network)
        self.lost: Callable[[], None] = lambda: None
        self.client: Process | None = None

    def break_client(self) -> None:
        """Tell the agent's end."""
        self.up.writer_broken = self.down.reader_broken = True
        self.up.wake()
        self.down.wake()

    def break_server(self) -> None:
        """Tell the collector's end."""
        self.up.reader_broken = self.down.writer_broken = True
        self.up.wake()
        self.down.wake()
        self.lost()


class Server(Protocol):
    """What listens."""

    process: Process

    def accept(self, connection: Connection) -> None:
        """Take a connection."""


class Network:
    """Who listens where, and the links between."""

    def __init__(self, loop: Loop, rng: Random) -> None:
        self.loop, self.rng = loop, rng
        self.process = Process("network")
        self.servers: dict[Target, Server] = {}
        self.links: dict[tuple[str, Target], Link] = {}
        # What agents sent, for those who send it again.
        self.sent: list[bytes] = []

    def link(self, node: str, target: Target) -> Link:
        """Return the path between a node and an address."""
        return self.links.setdefault((node, target), Link())

    async def connect(self, node: str, target: Target, client: Process) -> Connection:
        """Connect. Raises ConnectionRefusedError; without a path it takes for ever."""
        link = self.link(node, target)
        await asyncio.sleep(self.rng.random() * link.slow_s)
        while link.cut:
            await asyncio.sleep(1.0)
        server = self.servers.get(target)
        if server is None or not server.process.alive:
            raise ConnectionRefusedError(f"{target[0]}:{target[1]} does not listen")
        connection = Connection(self.loop, link, self.rng, self.process)
        connection.client = client
        link.connections.append(connection)
        self.loop.call_soon(server.accept, connection, context=server.process.context)
        return connection

    def client_died(self, client: Process) -> None:
        """Tell the collectors of a dead agent's connections, as its kernel does."""
        for link in self.links.values():
            for connection in link.connections:
                if connection.client is client:
                    self.later(link, connection.break_server)

    def later(self, link: Link, tell: Callable[[], None]) -> None:
        """Tell an end after a moment, where the link lets it through."""

        def say() -> None:
            if link.cut:
                self.loop.call_later(1.0, say, context=self.process.context)
            else:
                tell()

        self.loop.call_later(self.rng.random() * link.slow_s, say, context=self.process.context)

    def heal(self, link: Link) -> None:
        """Join a link again."""
        link.cut = False
        for connection in link.connections:
            connection.up.release()
            connection.down.release()


class Call:
    """The agent's end of a stream, as grpclib's behaves."""

    def __init__(self, network: Network, node: str, target: Target, client: Process) -> None:
        self._network, self._node, self._target, self._client = network, node, target, client
        self.connection: Connection | None = None

    async def send_request(self) -> None:
        """Begin."""
        self.connection = await self._network.connect(self._node, self._target, self._client)

    def _own(self) -> Connection:
        assert self.connection is not None
        return self.connection

    async def send_message(self, message: Request) -> None:
        """Send; wait while the collector takes no more."""
        data = message.SerializeToString()
        if len(self._network.sent) < 200:
            self._network.sent.append(data)
        try:
            await self._own().up.send(data)
        except BrokenPipeOfLinkError as error:
            raise StreamTerminatedError("connection lost") from error

    async def recv_message(self) -> Response | None:
        """Return the next answer; None: there are no more."""
        try:
            data = await self._own().down.receive()
        except BrokenPipeOfLinkError as error:
            raise StreamTerminatedError("connection lost") from error
        return None if data is None else Response.FromString(data)

    async def end(self) -> None:
        """Send no more."""
        try:
            await self._own().up.send(None)
        except BrokenPipeOfLinkError as error:
            raise StreamTerminatedError("connection lost") from error


class Line:
    """A node's way to collectors."""

    def __init__(self, network: Network, node: str, client: Process) -> None:
        self._network, self._node, self._client = network, node, client

    @asynccontextmanager
    async def call(self, target: Target) -> AsyncIterator[Call]:
        """Return the call of the ingest stream at a collector; it is given up where the block is left."""
        call = Call(self._network, self._node, target, self._client)
        try:
            yield call
        finally:
            if call.connection is not None:
                self._close(call.connection)

    async def knock(self, target: Target) -> None:
        """See whether a collector can be reached."""
        self._close(await self._network.connect(self._node, target, self._client))

    def _close(self, connection: Connection) -> None:
        connection.break_client()
        self._network.later(connection.link, connection.break_server)
