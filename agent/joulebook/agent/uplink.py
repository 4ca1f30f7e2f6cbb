"""The way to the collectors over gRPC, in a thread of its own."""

import asyncio
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from grpclib.client import Channel, StreamStreamMethod

from joulebook.agent.outbox import Outbox
from joulebook.agent.pace import Pace
from joulebook.agent.stream import WINDOW, Call, Request, Response
from joulebook.agent.way import HOME_S, Target, Way

_log = logging.getLogger(__name__)

_METHOD = "/joulebook.v1.IngestService/StreamReports"


class GrpcLine:
    """Reaches collectors by gRPC, with TLS where an authority is named."""

    def __init__(self, tls_ca: str) -> None:
        self._tls_ca = tls_ca

    @asynccontextmanager
    async def call(self, target: Target) -> AsyncIterator[Call]:
        """Return the call of the ingest stream at a collector; it is given up where the block is left."""
        context = None
        if self._tls_ca:
            context = ssl.create_default_context(cafile=self._tls_ca)
            context.set_alpn_protocols(["h2"])
        async with (
            Channel(*target, ssl=context) as channel,
            StreamStreamMethod(channel, _METHOD, Request, Response).open() as call,
        ):
            yield call

    async def knock(self, target: Target) -> None:
        """See whether a collector can be reached."""
        _, writer = await asyncio.open_connection(*target)
        writer.close()


class Uplink:
    """Streams an outbox, from a thread of its own, until it is stopped."""

    def __init__(
        self,
        targets: Sequence[Target],
        outbox: Outbox,
        *,
        tls_ca: str = "",
        replay_per_s: float = 1000.0,
        home_s: float = HOME_S,
    ) -> None:
        self._outbox = outbox
        self._way = Way(GrpcLine(tls_ca), targets, outbox, Pace(replay_per_s, WINDOW), home_s=home_s)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to stream."""
        self._outbox.on_change(self._wake)
        self._thread.start()

    def _wake(self) -> None:
        # The loop is closed when the uplink has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._way.stir)

    def stop(self, flush_s: float) -> None:
        """Stop once the outbox is empty, or after flush_s."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._way.stop)
        self._thread.join(flush_s)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        self._task = self._loop.create_task(self._way.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            _log.warning("stopped with %d reports not acknowledged", len(self._outbox))
        finally:
            self._outbox.on_change(lambda: None)
            self._loop.close()
