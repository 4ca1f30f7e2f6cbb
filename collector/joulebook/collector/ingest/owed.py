"""The answers that one stream is owed."""

from __future__ import annotations

import asyncio

from joulebook.v1 import ingest_pb2

Response = ingest_pb2.StreamReportsResponse


class Owed:
    """Gathers a stream's answers until they are taken, all at once.

    A stream is owed as many as its window: none fills memory with answers that it does not read.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        # Reports whose answer is not taken yet, and how many of these are answered.
        self._owed, self._answered = 0, 0
        self._response = Response()
        self._closed = False
        self._room, self._answer = _Bell(), _Bell()

    async def add(self) -> None:
        """Owe one answer more, once there is room for it."""
        while self._owed >= self._window:
            await self._room.rung()
        self._owed += 1

    def acknowledge(self, ack: ingest_pb2.Ack) -> None:
        """Answer a Report."""
        self._response.acks.append(ack)
        self._answer_came()

    def want(self, wanted: ingest_pb2.LayoutWanted) -> None:
        """Answer a Report by asking for its Layout."""
        self._response.layouts_wanted.append(wanted)
        self._answer_came()

    def _answer_came(self) -> None:
        self._answered += 1
        self._answer.ring()

    def close(self) -> None:
        """Owe no more answers than now."""
        self._closed = True
        self._answer.ring()

    async def taken(self) -> Response | None:
        """Return all answers that came since the last time, at least one; None: no more are owed."""
        while not self._answered:
            if self._closed and not self._owed:
                return None
            await self._answer.rung()
        response, self._response = self._response, Response()
        self._owed -= self._answered
        self._answered = 0
        self._room.ring()
        return response


class _Bell:
    """Wakes the one task that waits for it."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def rung(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def ring(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
