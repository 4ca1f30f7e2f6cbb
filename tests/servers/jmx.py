"""A Hadoop daemon's web page on loopback: HTTP or HTTPS that serves recorded documents, or whatever else."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RECORDED = Path(__file__).parents[1] / "fixtures/hdfs"
Handle = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(handle: Handle, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a free port of loopback; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handle(self)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # What a test's client breaks off is no error of the server's.
        handle_error = lambda *_: None  # noqa: E731

    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(60)


def says(data: bytes, status: int = 200, **headers: str) -> Handle:
    """Answer with these bytes."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return handle


def recorded(name: str) -> Handle:
    """Answer with what a daemon of that name was recorded to say."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        assert request.path == "/jmx?qry=Hadoop:*"
        says((_RECORDED / f"{name}.json").read_bytes())(request)

    return handle
