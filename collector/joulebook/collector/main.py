"""The collector: config → store → committer → gRPC → HTTP, and back in reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from joulebook.collector.alerts.alert import NoAlerts
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.api.app import create_app
from joulebook.collector.api.service import QueryService
from joulebook.collector.config import CollectorConfig
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.service import IngestService
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.listen import GrpcServer, HttpServer, StartError
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import StoreError
from joulebook.service.notify import Manager

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a collector listens, host:port, whatever port it was told."""

    http: str
    grpc: str


async def serve(
    config: CollectorConfig,
    *,
    ready: Callable[[Addresses], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Collect until stop is set. Raises StartError or StoreError when it cannot begin."""
    stop = stop or asyncio.Event()
    path = store_path(config)
    store = open_store(path, credentials=config.store_credentials, compress=config.store_compress)
    _log.info("store %s open", path)
    alerts = NoAlerts()
    queries = QueryService(store, alerts)
    manager = Manager()
    try:
        stats = IngestStats()
        committer = Committer(store, stats, policy=config.policy, commit_interval_s=config.commit_interval_s)
        ingest = IngestService(committer, stats, max_future_s=config.max_future_s)
        # Both are bound before either serves: a port that is taken is told before anything began.
        http = HttpServer(create_app(store, stats, alerts, DeliveryStats()), config)
        try:
            grpc = GrpcServer(ingest, queries, config)
            addresses = Addresses(http.address, grpc.address)
            await _run(committer, stats, http, grpc, addresses, manager, ready, stop)
        finally:
            http.close()
    finally:
        queries.close()
        store.close()
        manager.close()
        _log.info("store closed")


async def _run(
    committer: Committer,
    stats: IngestStats,
    http: HttpServer,
    grpc: GrpcServer,
    addresses: Addresses,
    manager: Manager,
    ready: Callable[[Addresses], None] | None,
    stop: asyncio.Event,
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            commits = tasks.create_task(committer.run())
            await grpc.start()
            pages = tasks.create_task(http.serve())
            await http.started()
            _log.info("listening: HTTP on %s, gRPC on %s", addresses.http, addresses.grpc)
            if ready:
                ready(addresses)
            manager.ready(f"HTTP on {addresses.http}, gRPC on {addresses.grpc}")
            signs = tasks.create_task(_give_signs(manager, committer, stats, addresses))
            await stop.wait()
            signs.cancel()
            manager.stopping()
            _log.info("stopping: no more requests")
            http.stop()
            await pages
            _log.info("stopping: no more reports; what is here is committed and acknowledged")
            await grpc.stop()
            commits.cancel()
    finally:
        await grpc.stop(grace_s=0)


async def _give_signs(
    manager: Manager, committer: Committer, stats: IngestStats, addresses: Addresses
) -> None:
    """Give signs of life from the event loop, unless a commit hangs in its thread."""

    def status() -> str:
        return (
            f"HTTP on {addresses.http}, gRPC on {addresses.grpc}; "
            f"{stats.streams} agents connected, {stats.reports} reports booked"
        )

    while manager.watchdog_s:
        if committer.busy_s < manager.watchdog_s:
            manager.alive(status)
        await asyncio.sleep(manager.watchdog_s / 8)


def store_path(config: CollectorConfig, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the store is."""
    if config.store:
        return config.store
    # systemd names the service's own directory; there may be several, the first is ours.
    if directory := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return str(Path(directory) / "joulebook.duckdb")
    if os.geteuid() == 0:
        return "/var/lib/joulebook/joulebook.duckdb"
    state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "joulebook" / "joulebook.duckdb")


def main(config: CollectorConfig, ready: Callable[[Addresses], None] | None = None) -> int:
    """Collect until SIGTERM or SIGINT; return the exit status, 2 when it could not begin."""

    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(config, ready=ready, stop=stop)

    try:
        asyncio.run(until_told())
    except (StartError, StoreError, OSError) as error:
        print(f"joulebook collector: {error}", file=sys.stderr)
        return 2
    return 0
