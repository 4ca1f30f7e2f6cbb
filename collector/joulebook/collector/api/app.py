"""The HTTP application over a store."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.alerts.stats import DeliveryStats
from joulebook.collector.api import exposition
from joulebook.collector.api.backups import TakeBackup, backups
from joulebook.collector.api.devices import DeviceFigures
from joulebook.collector.api.hooks import hooks
from joulebook.collector.api.page import FILES_PATH, install_page
from joulebook.collector.api.problems import documented, install, problem
from joulebook.collector.api.routes import Clock, router, wall_clock_us
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.schedulers.stats import AllStats
from joulebook.collector.store.protocol import Store

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def create_app(
    store: Store,
    stats: IngestStats,
    alerts: AlertBook,
    delivery: DeliveryStats,
    clock: Clock = wall_clock_us,
    backup: TakeBackup | None = None,
    jobs_authorization: str = "",
    devices: DeviceFigures | None = None,
    schedulers: AllStats | None = None,
) -> FastAPI:
    """Return the application. It has no page of documents: those would be fetched from elsewhere.

    jobs_authorization is the header of who may tell of jobs; "": nobody may.
    """
    app = FastAPI(
        title="joulebook",
        version=version("joulebook"),
        description="The energy books of a cluster.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    app.include_router(router(store, alerts, clock))
    app.include_router(hooks(store, jobs_authorization, clock))
    if backup is not None:
        app.include_router(backups(backup))

    @app.middleware("http")
    async def headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if request.url.path.startswith(FILES_PATH):
            response.headers["Cache-Control"] = "no-cache"  # kept, and asked for again by its tag
        return response

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Give what the collector counts, for Prometheus."""
        asked = schedulers or AllStats()
        text = exposition.exposition(store, stats, alerts, delivery, asked, clock())
        if devices is not None:
            text += devices.text(clock())
        return Response(text, media_type=exposition.MEDIA_TYPE)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Say that the collector runs."""
        return "ok\n"

    @app.get(
        "/readyz",
        response_class=PlainTextResponse,
        responses=documented(HTTPStatus.SERVICE_UNAVAILABLE),
    )
    def readyz() -> Response:
        """Say whether the store answers."""
        try:
            store.layout("", 0)
        except Exception as error:  # whatever it is, the store does not answer
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer: {error}")
        return PlainTextResponse("ready\n")

    install_page(app)
    return app
