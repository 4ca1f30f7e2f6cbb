"""Which collector an outbox is streamed to: fails over, comes home."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from grpclib import GRPCError
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from joulebook.agent.outbox import Outbox
from joulebook.agent.pace import Pace
from joulebook.agent.stream import AgainLaterError, Call, Session

_log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
# How soon the next address is tried where one failed.
_NEXT_S = 0.2
# After so long elsewhere the first address is looked for again; longer each time that it is there in vain.
HOME_S, _LAST_HOME_S = 300.0, 3600.0

Target = tuple[str, int]


class Line(Protocol):
    """What collectors are reached by. Both raise OSError where one cannot be."""

    def call(self, target: Target) -> AbstractAsyncContextManager[Call]:
        """Return the call of the ingest stream at a collector; it is given up where the block is left."""

    async def knock(self, target: Target) -> None:
        """See whether a collector can be reached."""


class Way:
    """Streams an outbox to one collector at a time; to the first address at best.

    The order of the addresses is what the operator prefers, so the way leads back to the first; it would else
    be the restart of one collector that decides where a cluster's agents are.
    """

    def __init__(
        self,
        line: Line,
        targets: Sequence[Target],
        outbox: Outbox,
        pace: Pace,
        *,
        home_s: float = HOME_S,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._line = line
        self._targets = targets
        self._outbox = outbox
        self._pace = pace
        self._jitter = jitter
        self._first_home_s = self._home_s = home_s
        self._stopping = False
        self.session: Session | None = None

    def stir(self) -> None:
        """Look again whether there is something to send, or an end to come to."""
        if self.session is not None:
            self.session.stir()

    def stop(self) -> None:
        """Have run() end once the outbox is empty."""
        self._stopping = True
        self.stir()

    def _finished(self) -> bool:
        return self._stopping and not len(self._outbox)

    async def run(self) -> None:
        """Stream until stop() and nothing is left."""
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
                await asyncio.sleep(_NEXT_S * self._jitter(0.5, 1.5))
            else:
                await asyncio.sleep(retry_s * self._jitter(0.5, 1.5))
                retry_s = min(retry_s * 2, _LAST_RETRY_S)

    async def _stream(self, session: Session, target: Target, *, home: bool) -> str | None:
        """Stream to one collector; return why it ended, None where it was meant to."""
        self.session = session
        homeward = None if home else asyncio.create_task(self._look_for_home(session))
        try:
            async with self._line.call(target) as call:
                await session.run(call)
        except (GRPCError, StreamTerminatedError, ProtocolError, OSError, AgainLaterError) as error:
            return str(error) or type(error).__name__
        finally:
            self.session = None
            if homeward is not None:
                homeward.cancel()
            # What was on its way may have been received or not: it is sent again, and counted once.
            self._outbox.rewind()
        return None

    async def _look_for_home(self, session: Session) -> None:
        """End a session at another collector, in order, once the first one can be reached again."""
        while True:
            await asyncio.sleep(self._home_s * self._jitter(0.5, 1.5))
            try:
                await self._line.knock(self._targets[0])
            except OSError:
                continue
            _log.info("collector %s:%d can be reached again", *self._targets[0])
            session.leave()
            return
