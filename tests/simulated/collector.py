"""A real collector on free loopback ports, run by a thread until it is left."""

import asyncio
import threading
from pathlib import Path
from types import TracebackType

from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.config import CollectorConfig
from joulebook.collector.main import Addresses, serve


class LiveCollector:
    """The whole program: store, ingest, queries, HTTP and gRPC."""

    def __init__(self, store: Path | str, alerts: AlertsConfig | None = None, /, **config: object) -> None:
        given = {"http": "127.0.0.1:0", "grpc": "127.0.0.1:0", "commit_interval_s": 0.01, "max_future_s": 1e9}
        # Not in this machine's state directory, where the store names no file beside which they could be.
        self._alerts = alerts or AlertsConfig(file=":memory:" if "://" in str(store) else "")
        self._config = CollectorConfig(store=str(store), **(given | config))  # type: ignore[arg-type]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.addresses: Addresses

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(
                serve(self._config, alerts=self._alerts, ready=self._begun, stop=self._stop)
            )
        except BaseException as error:
            self._error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._ready.set()

    def _begun(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self._ready.set()

    def __enter__(self) -> "LiveCollector":
        self._thread.start()
        self._ready.wait()
        if self._error:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error:
            raise self._error
