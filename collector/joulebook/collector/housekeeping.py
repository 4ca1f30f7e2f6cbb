"""The task that keeps house in a store beside its commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from joulebook.collector.store.protocol import StoreError

_log = logging.getLogger(__name__)

# What came is rolled up so often: the longer, the fewer parts a minute has, and the more Reports a question
# for the last minutes reads itself.
_EVERY_S = 60.0
# After a step, commits and questions have the machine for as long as it took.
_REST = 1.0
_AFTER_FAILURE_S = 60.0


class Keeper(Protocol):
    """Does what is due in small steps."""

    def steps(self, now_us: int) -> Iterator[str]:
        """Do what is due by now_us of the wall clock; say after each step what was done."""


class Housekeeping:
    """Runs a keeper's steps, one at a time, each in a thread that is waited for."""

    def __init__(
        self, keeper: Keeper, wall_clock_us: Callable[[], int], *, every_s: float = _EVERY_S
    ) -> None:
        self._keeper = keeper
        self._wall_clock_us = wall_clock_us
        self._every_s = every_s

    async def run(self) -> None:
        """Keep house until cancelled; the step that is under way then is finished first."""
        while True:
            rest_s = self._every_s
            try:
                steps = self._keeper.steps(self._wall_clock_us())
                while True:
                    began = time.monotonic()
                    if (
                        await self._finished(asyncio.ensure_future(asyncio.to_thread(next, steps, None)))
                        is None
                    ):
                        break
                    await asyncio.sleep(_REST * (time.monotonic() - began))
            except StoreError as error:
                _log.error("housekeeping: %s; nothing is lost, it is tried again", error)
                rest_s = _AFTER_FAILURE_S
            except Exception:
                # Commits must not stop for what can wait.
                _log.exception("housekeeping failed; nothing is lost, it is tried again")
                rest_s = _AFTER_FAILURE_S
            await asyncio.sleep(rest_s)

    @staticmethod
    async def _finished(step: asyncio.Future[str | None]) -> str | None:
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            # The store may be closed only when nobody works on it.
            await asyncio.wait([step])
            raise
