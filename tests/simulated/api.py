"""The real HTTP and gRPC servers over a store and a book of alerts, run by a thread until they are left."""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.api.app import create_app
from joulebook.collector.api.service import QueryService
from joulebook.collector.config import CollectorConfig
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.service import IngestService
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.listen import GrpcServer, HttpServer
from joulebook.collector.main import Addresses
from joulebook.collector.store.duckdb import DuckDBStore


class LiveApi:
    """A collector that only answers: its alerts are the test's, and it takes no Reports."""

    def __init__(self, path: Path | str, alerts: AlertBook, jobs_authorization: str = "") -> None:
        self._path = path
        self._alerts = alerts
        self._jobs_authorization = jobs_authorization
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.delivery = DeliveryStats()
        self.addresses: Addresses

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        config = CollectorConfig(http="127.0.0.1:0", grpc="127.0.0.1:0")
        store = DuckDBStore(self._path)
        queries = QueryService(store, self._alerts)
        stats = IngestStats()
        committer = Committer(store, stats, policy=config.policy, commit_interval_s=1.0)
        app = create_app(
            store, stats, self._alerts, self.delivery, jobs_authorization=self._jobs_authorization
        )
        http = HttpServer(app, config)
        grpc = GrpcServer(IngestService(committer, stats, max_future_s=1.0), queries, config)
        try:
            await grpc.start()
            pages = asyncio.create_task(http.serve())
            await http.started()
            self.addresses = Addresses(http.address, grpc.address)
            self._ready.set()
            await self._stop.wait()
            http.stop()
            await pages
        finally:
            await grpc.stop(grace_s=0)
            http.close()
            queries.close()
            store.close()

    def __enter__(self) -> Self:
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
