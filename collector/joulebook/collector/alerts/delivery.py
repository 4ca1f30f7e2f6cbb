"""Alerts to every Alertmanager: at once when something changed, and again as long as they fire."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.outbox import Outbox
from joulebook.collector.alerts.stats import DeliveryStats

if TYPE_CHECKING:
    from joulebook.collector.alerts.alertmanager import Alertmanager

_log = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_FIRST_WAIT_S = 0.5
_MAX_WAIT_S = 60.0


class Delivery:
    """Runs as one task. It ends no alert when it stops: the next collector goes on with them."""

    def __init__(self, config: AlertsConfig, stats: DeliveryStats, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._config = config
        self._stats = stats
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakes: list[asyncio.Event] = []

    def changed(self) -> None:
        """Take note that something began to fire or resolved; may be called from any thread."""
        loop = self._loop
        if loop is not None:
            # Closed meanwhile: the next collector begins with what is in the book.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    async def run(self, book: AlertBook, *, page_url: str) -> None:
        """Deliver until cancelled; where no Alertmanager is configured, return at once.

        page_url is where alerts link to, unless the configuration says where people reach the page.
        """
        if not self._config.alertmanagers:
            return
        # Imported where one is configured: nothing else of the collector needs an HTTP client.
        from joulebook.collector.alerts.alertmanager import Alertmanager  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        # Between two sendings lies the longer of both: nothing new is known before the next evaluation.
        resend_us = round(max(self._config.resend_s, self._config.evaluate_s) * 1e6)
        # Each server has a task of its own, so that one that hangs delays none of the others.
        async with asyncio.TaskGroup() as tasks:
            for url in self._config.alertmanagers:
                server = Alertmanager(url, self._config.alertmanager_credentials, timeout_s=self._timeout_s)
                self._stats.sent.setdefault(server.url, 0)
                self._stats.failed.setdefault(server.url, 0)
                wake = asyncio.Event()
                self._wakes.append(wake)
                outbox = Outbox(book, page_url=self._config.external_url or page_url, resend_us=resend_us)
                tasks.create_task(self._deliver_to(server, outbox, wake))

    async def _deliver_to(self, server: Alertmanager, outbox: Outbox, wake: asyncio.Event) -> None:
        failures, told = 0, ""
        async with server:
            while True:
                # What changes from here on is in the next round.
                wake.clear()
                if wrong := await self._send(server, outbox):
                    failures += 1
                else:
                    failures = 0
                # Once for each change of state, not once for each attempt.
                if wrong != told:
                    _tell(server.url, wrong)
                told = wrong
                if failures:
                    await asyncio.sleep(self._wait_s(failures))
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(wake.wait(), self._config.resend_s)

    async def _send(self, server: Alertmanager, outbox: Outbox) -> str:
        """Send all that is due; return what went wrong, or ''."""
        from joulebook.collector.alerts.alertmanager import DeliveryError  # noqa: PLC0415  # as above

        wrong = ""
        try:
            batches = await asyncio.to_thread(outbox.batches)
        except Exception as error:
            # No fault of the alerts may harm the books.
            _log.exception("alerts could not be made ready for Alertmanager %s", server.url)
            return f"{type(error).__name__}: {error}"
        for batch in batches:
            try:
                await server.post(batch.body)
            except DeliveryError as error:
                wrong = wrong or str(error)
                self._stats.failed[server.url] += len(batch.alerts)
                if not error.is_refusal:
                    break
            else:
                self._stats.sent[server.url] += len(batch.alerts)
                outbox.taken(batch)
        return wrong

    def _wait_s(self, failures: int) -> float:
        """Return how long to wait after failures in a row: twice as long each time, and a period at most."""
        longest_s = min(self._config.resend_s, _MAX_WAIT_S)
        # Jitter, so that collectors do not all come back at once.
        return min(_FIRST_WAIT_S * (1 << min(failures - 1, 16)), longest_s) * random.uniform(0.5, 1.0)


def _tell(url: str, wrong: str) -> None:
    if wrong:
        _log.warning("Alertmanager %s does not take alerts: %s; they are sent again", url, wrong)
    else:
        _log.info("Alertmanager %s takes alerts again", url)
