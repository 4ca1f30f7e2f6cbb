"""One stream to a collector, from its beginning to its end."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from grpclib import Status

from joulebook.agent.outbox import Entry, Key, Outbox
from joulebook.agent.pace import Pace
from joulebook.v1 import ingest_pb2
from joulebook.v1.naming import layout_hash

_log = logging.getLogger(__name__)

Request = ingest_pb2.StreamReportsRequest
Response = ingest_pb2.StreamReportsResponse

# Reports on their way at once: enough to fill a link, few enough that a collector's restart costs little.
WINDOW = 64
# A message holds no more than this, or one Report.
_MESSAGE_BYTES = 1 << 20
# The part of the window that only live Reports may take.
_FOR_LIVE = 16
# A collector that owes an answer this long is given up and tried again.
_ANSWER_S = 60.0
_CONNECT_S = 10.0
_RETRY = {Status.UNAVAILABLE.value, Status.RESOURCE_EXHAUSTED.value}
# Refused as things are: the collector's clock goes on, and its faults are mended.
_LATER = {Status.OUT_OF_RANGE.value, Status.INTERNAL.value}


class Call(Protocol):
    """A call of the ingest stream: both directions of it, each in order."""

    async def send_request(self) -> None:
        """Begin."""

    async def send_message(self, message: Request) -> None:
        """Send; wait while the collector takes no more."""

    async def recv_message(self) -> Response | None:
        """Return the next answer; None: there are no more."""

    async def end(self) -> None:
        """Send no more."""


class AgainLaterError(Exception):
    """The collector cannot take Reports now."""


class Session:
    """Sends what an outbox has: live Reports as they come, and beside them what waits, at its pace."""

    def __init__(self, outbox: Outbox, pace: Pace, finished: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._pace = pace
        self._finished = finished
        self._leaving = False
        self._on_the_way: set[Key] = set()
        self._layouts_sent: set[int] = set()
        self._stirred = asyncio.Event()
        # What goes next: with its Layout, which the collector asked for, or what a message had no room for.
        self._first: deque[Entry] = deque()
        self._live_turn = True
        self._postponing = False
        self.answered = 0
        # How many Reports the collector took.
        self.taken = 0

    def stir(self) -> None:
        """Look again whether there is something to send, or an end to come to."""
        self._stirred.set()

    def leave(self) -> None:
        """Send no more, and end when what is on its way is answered."""
        self._leaving = True
        self.stir()

    async def run(self, call: Call) -> None:
        """Send and take answers until there is nothing left to do, or raise what went wrong."""
        async with asyncio.timeout(_CONNECT_S):
            await call.send_request()
        sender = asyncio.create_task(self._send_all(call))
        try:
            await self._take_answers(call, sender)
            await sender
        finally:
            sender.cancel()

    async def _send_all(self, call: Call) -> None:
        while not (self._leaving or self._finished()):
            self._stirred.clear()
            together = self._together()
            if together is not None:
                await call.send_message(together)
                continue
            # An acknowledgement, another Report or the pace: whatever lets the next one go.
            try:
                async with asyncio.timeout(self._pace.wait_s() or None):
                    await self._stirred.wait()
            except TimeoutError:
                pass
        await call.end()

    def _together(self) -> Request | None:
        """Return all that is to be sent now, as far as it fits into a message; None: nothing is."""
        request, size = Request(), 0
        while (entry := self._first.popleft() if self._first else self._next()) is not None:
            self._on_the_way.add(entry.key)
            report, hash_ = entry.report.SerializeToString(), layout_hash(entry.layout)
            layouts = [] if hash_ in self._layouts_sent else [entry.layout]
            size += len(report) + sum(map(len, layouts))
            if size > _MESSAGE_BYTES and request.reports:
                self._first.appendleft(entry)
                break
            request.reports.append(report)
            request.layouts.extend(layouts)
            self._layouts_sent.add(hash_)
        return request if request.reports else None

    def _next(self) -> Entry | None:
        """Return what is to go next. Live Reports and those that wait take turns where there are both."""
        for live in (self._live_turn, not self._live_turn):
            entry = self._next_live() if live else self._next_kept()
            if entry is not None:
                self._live_turn = not live
                return entry
        return None

    def _next_live(self) -> Entry | None:
        return self._outbox.next_live() if len(self._on_the_way) < WINDOW else None

    def _next_kept(self) -> Entry | None:
        if len(self._on_the_way) >= WINDOW - _FOR_LIVE or self._pace.wait_s():
            return None
        entry = self._outbox.next_kept()
        if entry is not None:
            self._pace.take()
        return entry

    async def _take_answers(self, call: Call, sender: asyncio.Task[None]) -> None:
        while True:
            response = await self._next_answer(call, sender)
            if response is None:
                if not sender.done():
                    raise AgainLaterError("the collector ended the stream")
                return
            self.answered += 1
            for wanted in response.layouts_wanted:
                self._layouts_sent.discard(wanted.layout_hash)
                entry = self._outbox.get((wanted.boot, wanted.sequence))
                if entry is not None:
                    # By the sender: a collector that takes no more may be waiting for its answers to be read.
                    self._first.append(entry)
            for ack in response.acks:
                self._take_ack(ack)
            self.stir()

    async def _next_answer(self, call: Call, sender: asyncio.Task[None]) -> Response | None:
        """Read an answer; None at the stream's end. Raises when one is owed for too long.

        A read that is cut short would end the call, so it is waited for beside the clock.
        """
        reading = asyncio.ensure_future(call.recv_message())
        try:
            while True:
                answered = self.answered
                owed = bool(self._on_the_way)
                both = {reading} if sender.done() else {reading, sender}
                done, _ = await asyncio.wait(both, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
                if reading in done:
                    return reading.result()
                if done:
                    sender.result()
                    continue
                if owed and self._on_the_way and self.answered == answered:
                    raise AgainLaterError(f"no answer for {_ANSWER_S:.0f} s")
        finally:
            reading.cancel()

    def _take_ack(self, ack: ingest_pb2.Ack) -> None:
        key = (ack.boot, ack.sequence)
        if ack.code in _RETRY:
            raise AgainLaterError(ack.message)
        self._on_the_way.discard(key)
        if ack.code == Status.OK.value:
            self.taken += 1
            self._outbox.remove(key)
        elif ack.code in _LATER:
            if not self._postponing:
                _log.warning("report %d refused for now: %s; it is kept", ack.sequence, ack.message)
            self._postponing = True
            self._outbox.postpone(key)
        else:
            # It would be refused for ever. The counters around it still tell the energy it held.
            _log.error("report %d refused: %s", ack.sequence, ack.message)
            self._outbox.refuse(key)
