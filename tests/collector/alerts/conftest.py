"""A delivery at work, and somebody whom Alertmanager notifies."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import pytest

from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.delivery import Delivery
from joulebook.collector.alerts.stats import DeliveryStats
from tests.servers.alertmanager import Receiver, receiver
from tests.simulated.alerts import MadeUpBook

_PATIENCE_S = 300.0


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class LiveDelivery:
    """A delivery in a thread, until it is left."""

    def __init__(self, book: MadeUpBook, *urls: str, timeout_s: float = 10.0, **config: object) -> None:
        # Long periods, so that what arrives soon does so because something changed. Those between two
        # evaluations stay long: an alert lives some of them, however late a busy machine sends it again.
        given: dict[str, object] = {"alertmanagers": list(urls), "resend_s": 600.0, "evaluate_s": 600.0}
        self.stats = DeliveryStats()
        told = AlertsConfig(**(given | config))  # type: ignore[arg-type]
        self.delivery = Delivery(told, self.stats, timeout_s=timeout_s)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.delivery.run(book, page_url="http://127.0.0.1:8460"))
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # it had nothing to do, and ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()


@pytest.fixture
def people() -> Iterator[Receiver]:
    """Whom Alertmanager notifies."""
    with receiver() as found:
        yield found
