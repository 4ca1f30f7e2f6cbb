"""The two ports of a collector."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import uvicorn
from fastapi import FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from joulebook.collector.api.service import QueryService
from joulebook.collector.config import CollectorConfig
from joulebook.collector.ingest.decode import MAX_LAYOUT_BYTES, MAX_REPORT_BYTES
from joulebook.collector.ingest.service import IngestService
from joulebook.v1 import ingest_pb2, query_pb2
from joulebook.v1.ingest_pb2_grpc import add_IngestServiceServicer_to_server
from joulebook.v1.query_pb2_grpc import add_QueryServiceServicer_to_server

# How long a stop waits for what is under way.
_GRACE_S = 2.0
# Streams that wait to be served, and for how long.
_MOST_STREAMS, _LONGEST_WAIT_S = 1 << 17, 300
_SERVICES = (
    ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
    query_pb2.DESCRIPTOR.services_by_name["QueryService"].full_name,
)


class StartError(Exception):
    """The collector cannot begin: what it could not have, and what to do."""


class HttpServer:
    """uvicorn on a port of its own, which is bound at once."""

    def __init__(self, app: FastAPI, config: CollectorConfig) -> None:
        host, _, port = config.http.rpartition(":")
        self._socket = _bound("http", host.strip("[]"), int(port))
        port_bound = self._socket.getsockname()[1]
        self.address = f"{host}:{port_bound}"
        # What alerts link to. Nobody can go to "everywhere", so that is this machine by its name.
        named = socket.gethostname() if host.strip("[]") in ("0.0.0.0", "::") else host
        self.url = f"{'https' if config.tls_certificate else 'http'}://{named}:{port_bound}"
        try:
            options = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=round(_GRACE_S),
                ssl_certfile=config.tls_certificate or None,
                ssl_keyfile=config.tls_key or None,
            )
            options.load()
        except (ssl.SSLError, OSError) as error:
            self._socket.close()
            raise StartError(
                f"collector.tls_certificate = {config.tls_certificate!r}, collector.tls_key = "
                f"{config.tls_key!r}: expected a PEM certificate and its key ({error})"
            ) from error
        self._server = _Server(options)

    async def serve(self) -> None:
        """Answer until stop()."""
        await self._server.serve(sockets=[self._socket])

    async def started(self) -> None:
        """Wait until requests are answered."""
        while not self._server.started:
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        """Take no more requests; serve() returns when those under way are answered."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the collector, which stops its parts in order."""
        yield


def _bound(field: str, host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise _taken(field, f"{host}:{port}", error.strerror or str(error)) from error
    # An answer is two writes, headers and body. Nagle's algorithm would hold the second back until the client
    # acknowledges the first, which it delays by 40 ms. asyncio sets this only where a socket names its
    # protocol; what is accepted has it from here.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


class GrpcServer:
    """The gRPC port: ingest, queries, health and reflection."""

    def __init__(self, ingest: IngestService, queries: QueryService, config: CollectorConfig) -> None:
        self._health = health.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # Without it a second collector would share the port and take half of the agents.
                ("grpc.so_reuseport", 0),
                # A cluster that comes back all at once is not to be turned away: streams wait their turn.
                ("grpc.server.max_pending_requests", _MOST_STREAMS),
                ("grpc.server.max_pending_requests_hard_limit", _MOST_STREAMS),
                ("grpc.server_max_unrequested_time_in_server", _LONGEST_WAIT_S),
                ("grpc.max_receive_message_length", MAX_REPORT_BYTES + MAX_LAYOUT_BYTES + (1 << 16)),
                # Agents may ask whether the connection lives while they have nothing to send.
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ]
        )
        add_IngestServiceServicer_to_server(ingest, self._server)
        add_QueryServiceServicer_to_server(queries, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*_SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)
        host, _, port = config.grpc.rpartition(":")
        self.address = f"{host}:{self._bind(host, int(port), config)}"

    def _bind(self, host: str, port: int, config: CollectorConfig) -> int:
        try:
            if config.tls_certificate:
                pair = (Path(config.tls_key).read_bytes(), Path(config.tls_certificate).read_bytes())
                bound = self._server.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([pair]))
            else:
                bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise _taken("grpc", f"{host}:{port}", _why(host, port) or str(error)) from error
        return bound

    async def start(self) -> None:
        """Serve, and say so to health checks."""
        await self._server.start()
        for name in ("", *_SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float = _GRACE_S) -> None:
        """Take no more calls and let those under way end, for as long as grace_s."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


def _why(host: str, port: int) -> str:
    """Return what the system says to binding a port; gRPC does not tell."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _taken(field: str, address: str, why: str) -> StartError:
    return StartError(
        f"collector.{field} = {address!r}: cannot listen there ({why}); is another collector running? "
        f"Stop it, or choose another port with --{field} or collector.{field}"
    )
