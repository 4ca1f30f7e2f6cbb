"""A real ingest server on a loopback port, that a test can stop and start again."""

import asyncio
import threading
from types import TracebackType

import grpc.aio

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.service import IngestService
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.protocol import Store
from joulebook.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server

# The simulated nodes' clocks stand in the future of some machines that run the tests.
_ANY_FUTURE_S = 1e9


class IngestServer:
    """Serves a store's ingest from a thread of its own until it is left."""

    def __init__(self, store: Store, port: int = 0, *, max_future_s: float = _ANY_FUTURE_S) -> None:
        self.store = store
        self._max_future_s = max_future_s
        self.stats = IngestStats()
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self) -> None:
        server = grpc.aio.server()
        committer = Committer(self.store, self.stats, commit_interval_s=0.01)
        service = IngestService(committer, self.stats, max_future_s=self._max_future_s)
        add_IngestServiceServicer_to_server(service, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        committing = asyncio.create_task(committer.run())
        self._ready.set()
        await self._stop.wait()
        await server.stop(grace=None)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)

    def __enter__(self) -> "IngestServer":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
