"""The way to the collectors: connects, fails over, comes home."""

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress

from grpclib import GRPCError
from grpclib.client import Channel, StreamStreamMethod
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from joulebook.agent.outbox import Outbox
from joulebook.agent.pace import Pace
from joulebook.agent.stream import WINDOW, AgainLaterError, Request, Response, Session

_log = logging.getLogger(__name__)

_METHOD = "/joulebook.v1.IngestService/StreamReports"

_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
# How soon the next address is tried where one failed.
_NEXT_S = 0.2
# After so long elsewhere the first address is looked for again; longer each time that it is there in vain.
_HOME_S, _LAST_HOME_S = 300.0, 3600.0

Target = tuple[str, int]


class Uplink:
    """Streams an outbox to one collector at a time, from a thread of its own; to the first address at best.

    The order of the addresses is what the operator prefers, so the uplink returns to the first; it would else
    be the restart of one collector that decides where a cluster's agents are.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        outbox: Outbox,
        *,
        tls_ca: str = "",
        replay_per_s: float = 1000.0,
        home_s: float = _HOME_S,
    ) -> None:
        self._targets = targets
        self._tls_ca = tls_ca
        self._outbox = outbox
        self._pace = Pace(replay_per_s, WINDOW)
        self._first_home_s = self._home_s = home_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._stopping = False
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to stream."""
        self._outbox.on_change(self._wake)
        self._thread.start()

    def _wake(self) -> None:
        # The loop is closed when the uplink has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stir)

    def _stir(self) -> None:
        if self._session is not None:
            self._session.stir()

    def stop(self, flush_s: float) -> None:
        """Stop once the outbox is empty, or after flush_s."""
        self._stopping = True
        self._wake()
        self._thread.join(flush_s)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        self._task = self._loop.create_task(self._connect_for_ever())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            _log.warning("stopped with %d reports not acknowledged", len(self._outbox))
        finally:
            self._outbox.on_change(lambda: None)
            self._loop.close()

    def _channel(self, target: Target) -> Channel:
        context = None
        if self._tls_ca:
            context = ssl.create_default_context(cafile=self._tls_ca)
            context.set_alpn_protocols(["h2"])
        return Channel(*target, ssl=context)

    def _finished(self) -> bool:
        return self._stopping and not len(self._outbox)

    async def _connect_for_ever(self) -> None:
        at, failures, retry_s = 0, 0, _FIRST_RETRY_S
        said: set[Target] = set()
        while not self._finished():
            target = self._targets[at]
            session = Session(self._outbox, self._pace, self._finished)
            reason = await self._stream(session, target, home=at == 0)
            if session.taken:
                failures, retry_s = 0, _FIRST_RETRY_S
                said.discard(target)
                if at == 0:
                    self._home_s = self._first_home_s
            if reason is None:
                at = 0
                continue
            if at == 0 and not session.taken:
                self._home_s = min(self._home_s * 2, _LAST_HOME_S)
            if target not in said:
                _log.warning("collector %s:%d: %s; %d reports are kept", *target, reason, len(self._outbox))
                said.add(target)
            failures += 1
            at = (at + 1) % len(self._targets)
            # Jitter keeps a cluster from coming back all at once.
            if failures % len(self._targets):
                await asyncio.sleep(_NEXT_S * random.uniform(0.5, 1.5))
            else:
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))
                retry_s = min(retry_s * 2, _LAST_RETRY_S)

    async def _stream(self, session: Session, target: Target, *, home: bool) -> str | None:
        """Stream to one collector; return why it ended, None where it was meant to."""
        self._session = session
        homeward = None if home else asyncio.create_task(self._look_for_home(session))
        try:
            async with self._channel(target) as channel:
                method = StreamStreamMethod(channel, _METHOD, Request, Response)
                async with method.open() as call:
                    await session.run(call)
        except (GRPCError, StreamTerminatedError, ProtocolError, OSError, AgainLaterError) as error:
            return str(error) or type(error).__name__
        finally:
            self._session = None
            if homeward is not None:
                homeward.cancel()
            # What was on its way may have been received or not: it is sent again, and counted once.
            self._outbox.rewind()
        return None

    async def _look_for_home(self, session: Session) -> None:
        """End a session at another collector, in order, once the first one can be reached again."""
        while True:
            await asyncio.sleep(self._home_s * random.uniform(0.5, 1.5))
            try:
                _, writer = await asyncio.open_connection(*self._targets[0])
            except OSError:
                continue
            writer.close()
            _log.info("collector %s:%d can be reached again", *self._targets[0])
            session.leave()
            return
