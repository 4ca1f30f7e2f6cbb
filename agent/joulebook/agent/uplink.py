"""The stream to the collector: sends the outbox, forgets what is acknowledged."""

import asyncio
import logging
import random
import ssl
import threading

from grpclib import GRPCError, Status
from grpclib.client import Channel, Stream, StreamStreamMethod
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from joulebook.agent.layout import layout_hash
from joulebook.agent.outbox import Entry, Key, MemoryOutbox
from joulebook.v1 import ingest_pb2

_log = logging.getLogger(__name__)

Request = ingest_pb2.StreamReportsRequest
Response = ingest_pb2.StreamReportsResponse
Call = Stream[Request, Response]

_METHOD = "/joulebook.v1.IngestService/StreamReports"

# Reports on their way at once: enough to fill a link, few enough that a collector's restart costs little.
_WINDOW = 64
# A collector that owes an answer this long is given up and tried again.
_ANSWER_S = 60.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_RETRY = {Status.UNAVAILABLE.value, Status.RESOURCE_EXHAUSTED.value}


class _AgainLaterError(Exception):
    """The collector cannot take Reports now."""


class Uplink:
    """Streams an outbox to a collector from a thread of its own, and connects again when that fails."""

    def __init__(self, target: str, outbox: MemoryOutbox, *, tls_ca: str = "") -> None:
        self._target = target
        self._tls_ca = tls_ca
        self._outbox = outbox
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._stopping = False
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.refused = 0

    def start(self) -> None:
        """Begin to stream."""
        self._outbox.on_change(self._wake)
        self._thread.start()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._filled.set)

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
            self._loop.close()

    def _channel(self) -> Channel:
        host, _, port = self._target.rpartition(":")
        context = None
        if self._tls_ca:
            context = ssl.create_default_context(cafile=self._tls_ca)
            context.set_alpn_protocols(["h2"])
        return Channel(host.strip("[]"), int(port), ssl=context)

    async def _connect_for_ever(self) -> None:
        retry_s = _FIRST_RETRY_S
        said = False
        while not (self._stopping and not len(self._outbox)):
            session = _Session(self, self._outbox)
            try:
                async with self._channel() as channel:
                    method = StreamStreamMethod(channel, _METHOD, Request, Response)
                    async with method.open() as call:
                        await session.run(call)
                continue
            except (GRPCError, StreamTerminatedError, ProtocolError, OSError, _AgainLaterError) as error:
                reason = str(error) or type(error).__name__
            answered = session.answered
            if answered:
                retry_s, said = _FIRST_RETRY_S, False
            if not said:
                _log.warning("collector %s: %s; %d reports are kept", self._target, reason, len(self._outbox))
                said = True
            # Jitter keeps a cluster from coming back all at once.
            await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))
            retry_s = min(retry_s * 2, _LAST_RETRY_S)

    def acknowledged(self) -> None:
        """Let the sender end the stream when there is nothing left to send after stop()."""
        if self._stopping and not len(self._outbox):
            self._filled.set()

    async def wait_for_more(self) -> bool:
        """Wait until something was put in; return whether the stream is to go on."""
        await self._filled.wait()
        self._filled.clear()
        return not (self._stopping and not len(self._outbox))


class _Session:
    """One stream from its beginning to its end."""

    def __init__(self, uplink: Uplink, outbox: MemoryOutbox) -> None:
        self._uplink = uplink
        self._outbox = outbox
        self._on_the_way: set[Key] = set()
        self._layouts_sent: set[int] = set()
        self._room = asyncio.Event()
        self._sending = asyncio.Lock()
        self.answered = 0

    async def run(self, call: Call) -> None:
        """Send and take answers until there is nothing left to do, or raise what went wrong."""
        await call.send_request()
        sender = asyncio.create_task(self._send_all(call))
        try:
            await self._take_answers(call, sender)
            await sender
        finally:
            sender.cancel()

    async def _send_all(self, call: Call) -> None:
        while True:
            for entry in self._outbox.pending():
                while len(self._on_the_way) >= _WINDOW:
                    self._room.clear()
                    await self._room.wait()
                if entry.key not in self._on_the_way:
                    self._on_the_way.add(entry.key)
                    await self._send(call, entry)
            if not await self._uplink.wait_for_more():
                break
        await call.end()

    async def _send(self, call: Call, entry: Entry) -> None:
        async with self._sending:
            hash_ = layout_hash(entry.layout)
            if hash_ not in self._layouts_sent:
                self._layouts_sent.add(hash_)
                await call.send_message(Request(layout=entry.layout))
            await call.send_message(Request(report=entry.report))

    async def _take_answers(self, call: Call, sender: asyncio.Task[None]) -> None:
        while True:
            response = await self._next_answer(call, sender)
            if response is None:
                if not sender.done():
                    raise _AgainLaterError("the collector ended the stream")
                return
            self.answered += 1
            if response.WhichOneof("message") == "layout_wanted":
                wanted = response.layout_wanted
                self._layouts_sent.discard(wanted.layout_hash)
                entry = self._outbox.get((wanted.boot, wanted.sequence))
                if entry is not None:
                    await self._send(call, entry)
                continue
            self._take_ack(response.ack)
            self._room.set()
            self._uplink.acknowledged()

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
                    raise _AgainLaterError(f"no answer for {_ANSWER_S:.0f} s")
        finally:
            reading.cancel()

    def _take_ack(self, ack: ingest_pb2.Ack) -> None:
        key = (ack.boot, ack.sequence)
        if ack.code in _RETRY:
            raise _AgainLaterError(ack.message)
        if ack.code != Status.OK.value:
            # It would be refused for ever. The counters around it still tell the energy it held.
            self._uplink.refused += 1
            _log.error("report %d refused: %s", ack.sequence, ack.message)
        self._on_the_way.discard(key)
        self._outbox.remove(key)
