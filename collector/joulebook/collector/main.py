"""The collector: config → store → committer → gRPC → HTTP, and back in reverse."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.delivery import Delivery
from joulebook.collector.alerts.evaluation import Evaluation
from joulebook.collector.alerts.sqlite import SqliteAlerts
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.alerts.store import AlertStore, AlertStoreError
from joulebook.collector.api.app import create_app
from joulebook.collector.api.devices import DeviceFigures
from joulebook.collector.api.routes import wall_clock_us
from joulebook.collector.api.service import QueryService
from joulebook.collector.background import Background, background
from joulebook.collector.backup.files import beside
from joulebook.collector.backup.take import take
from joulebook.collector.config import CollectorConfig
from joulebook.collector.credentials import CredentialsError, authorization
from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.service import IngestService
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.book import Books
from joulebook.collector.listen import GrpcServer, HttpServer, StartError
from joulebook.collector.schedulers.stats import AllStats
from joulebook.collector.store.influxdb_address import is_influxdb
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import NoRoomError, Store, StoreError
from joulebook.collector.store.victoriametrics.address import is_victoriametrics
from joulebook.service.notify import Manager

_log = logging.getLogger(__name__)

# How soon a disk that was full is looked at again.
_AGAIN_S = 5

Booked = Callable[[Sequence[Decoded], Books], None]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a collector listens, host:port, whatever port it was told."""

    http: str
    grpc: str


async def serve(
    config: CollectorConfig,
    *,
    alerts: AlertsConfig | None = None,
    ready: Callable[[Addresses], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Collect until stop is set. Raises StartError, CredentialsError, StoreError or AlertStoreError.

    It raises them if it cannot begin.
    """
    stop = stop or asyncio.Event()
    alerts = alerts or AlertsConfig()
    path = store_path(config)
    jobs = authorization(config.jobs_token, key="collector.jobs_token", token="Bearer")
    opened = await _opened(config, path, alerts_path(alerts, path), stop)
    if opened is None:
        return
    store, kept = opened
    _log.info("store %s open", path)
    manager = Manager()
    queries: QueryService | None = None
    try:
        stats = IngestStats()
        sent = DeliveryStats()
        schedulers = AllStats()
        delivery = Delivery(alerts, sent)
        evaluation = Evaluation(store, kept, alerts, stats, wall_clock_us, changed=delivery.changed)
        queries = QueryService(store, evaluation)
        devices = _device_figures(config)
        committer = Committer(
            store,
            stats,
            policy=config.policy,
            commit_interval_s=config.commit_interval_s,
            booked=_both(evaluation.booked, devices),
        )
        ingest = IngestService(committer, stats, max_future_s=config.max_future_s)
        # Both are bound before either serves: a port that is taken is told before anything began.
        files = beside(alerts_path(alerts, path))
        app = create_app(
            store,
            stats,
            evaluation,
            sent,
            backup=lambda to: take(store, to, files, wall_clock_us()),
            jobs_authorization=jobs,
            devices=devices,
            schedulers=schedulers,
        )
        http = HttpServer(app, config)
        try:
            grpc = GrpcServer(ingest, queries, config)
            addresses = Addresses(http.address, grpc.address)
            others = background(store, config, schedulers)
            await _run(
                committer, evaluation, delivery, others, stats, http, grpc, addresses, manager, ready, stop
            )
        finally:
            http.close()
    finally:
        if queries is not None:
            queries.close()
        kept.close()
        store.close()
        manager.close()
        _log.info("store closed")


async def _opened(
    config: CollectorConfig, path: str, alerts: str, stop: asyncio.Event
) -> tuple[Store, AlertStore] | None:
    """Open what is kept, again and again while the disk is full; None: it was to stop before."""
    while not stop.is_set():
        try:
            return _open(config, path, alerts)
        except NoRoomError as error:
            _log.error("%s; make room: it is tried again every %d s", error, _AGAIN_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _AGAIN_S)
    return None


def _open(config: CollectorConfig, path: str, alerts: str) -> tuple[Store, AlertStore]:
    store = open_store(
        path,
        credentials=config.store_credentials,
        compress=config.store_compress,
        facts=facts_path(config),
    )
    try:
        return store, SqliteAlerts(alerts)
    except AlertStoreError as error:
        store.close()
        if "disk is full" in str(error):
            raise NoRoomError(str(error)) from error
        raise
    except BaseException:
        store.close()
        raise


async def _run(
    committer: Committer,
    evaluation: Evaluation,
    delivery: Delivery,
    others: Sequence[Background],
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
            judging = tasks.create_task(evaluation.run())
            sending = tasks.create_task(delivery.run(evaluation, page_url=http.url))
            running = [tasks.create_task(one.run()) for one in others]
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
            # What the last commit booked is judged too.
            await asyncio.wait([commits])
            judging.cancel()
            sending.cancel()
            for other in running:
                other.cancel()
    finally:
        await grpc.stop(grace_s=0)


def _device_figures(config: CollectorConfig) -> DeviceFigures | None:
    """Return who keeps figures of devices for /metrics; None where none are wanted."""
    if not config.metrics_devices:
        return None
    return DeviceFigures(config.metrics_devices, config.metrics_device_samples)


def _both(judge: Booked, devices: DeviceFigures | None) -> Booked:
    if devices is None:
        return judge

    def booked(reports: Sequence[Decoded], books: Books) -> None:
        judge(reports, books)
        devices.booked(reports)

    return booked


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
    return str(_state_directory(environ) / "joulebook.duckdb")


def facts_path(config: CollectorConfig, environ: Mapping[str, str] = os.environ) -> str:
    """Return where what is no time series is kept beside a store of time series."""
    return config.facts or str(_state_directory(environ) / "joulebook.facts.sqlite")


def alerts_path(config: AlertsConfig, store: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return where alerts are kept."""
    if config.file or store == ":memory:":
        return config.file or store
    served = is_influxdb(store) or is_victoriametrics(store)
    beside = _state_directory(environ) / "joulebook" if served else Path(store)
    return str(beside.with_suffix(".alerts.sqlite"))


def _state_directory(environ: Mapping[str, str]) -> Path:
    # systemd names the service's own directory; there may be several, the first is ours.
    if directory := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(directory)
    if os.geteuid() == 0:
        return Path("/var/lib/joulebook")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "joulebook"


def main(
    config: CollectorConfig, alerts: AlertsConfig, ready: Callable[[Addresses], None] | None = None
) -> int:
    """Collect until SIGTERM or SIGINT; return the exit status, 2 when it could not begin."""

    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(config, alerts=alerts, ready=ready, stop=stop)

    # Reports come by the thousand and none is in a cycle: to look for cycles every 700 objects finds nothing.
    gc.set_threshold(50_000, 20, 50)
    try:
        asyncio.run(until_told())
    except (StartError, CredentialsError, StoreError, AlertStoreError, OSError) as error:
        print(f"joulebook collector: {error}", file=sys.stderr)
        return 2
    return 0
