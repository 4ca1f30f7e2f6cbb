"""The HTTP API of InfluxDB as its documentation has it, on a loopback port: 2 and 3 are not to be had.

Writes are answered with whatever a test says, otherwise taken; questions have no rows.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "t0p"


class Answers(ThreadingHTTPServer):
    """What the server is, what it was asked, and what it answers to writes."""

    # A test must not wait for connections that clients keep.
    daemon_threads = True

    def __init__(self, version: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = version
        # To the next writes, in order: status, headers, body; then all is taken.
        self.refusals: list[tuple[int, dict[str, str], Any]] = []
        # Of every write: its parameters, its Authorization, and its lines.
        self.writes: list[tuple[dict[str, str], str, list[bytes]]] = []
        # How often its version was asked for, and where lines were posted to.
        self.pings = 0
        self.paths: set[str] = set()
        self.databases: dict[str, str] = {}
        # More than so many bytes in a write are too large.
        self.most_bytes = 1 << 30

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Answers
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def do_GET(self) -> None:
        """Say which version this is, and which databases there are."""
        path, asked = self._asked()
        self.server.pings += path == "/ping"
        major = self.server.version.lstrip("v")[0]
        if path == "/ping" and major in "12":
            self._answer(204, headers={"X-Influxdb-Version": self.server.version})
        elif major == "3" and self.headers["Authorization"] not in (f"Token {TOKEN}", f"Bearer {TOKEN}"):
            self._answer(401)
        elif path == "/ping":
            self._answer(200, {"version": self.server.version, "revision": "f3d3d3d", "process_id": "1"})
        else:
            assert (path, asked) == ("/api/v3/configure/database", {"format": "json"})
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            self._answer(200, [{"iox::database": name} for name in ("_internal", *self.server.databases)])

    def do_POST(self) -> None:
        """Take lines, answer questions, or make a database."""
        path, asked = self._asked()
        body = self._body()
        if path == "/query":
            count = body.count(b"SELECT")
            self._answer(200, {"results": [{"statement_id": number} for number in range(count)]})
        elif path == "/api/v3/configure/database":
            wanted = json.loads(body)
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            if wanted["db"] in self.server.databases:
                self._answer(409, {"error": "attempted to create a resource that already exists"})
            else:
                self.server.databases[wanted["db"]] = wanted.get("retention_period", "")
                self._answer(200)
        else:
            assert path in ("/write", "/api/v2/write")
            self.server.paths.add(path)
            if len(body) > self.server.most_bytes:
                said = "cannot read data: points batch is too large"
                self._answer(413, {"code": "request too large", "message": said})
            elif self.server.refusals:
                status, headers, document = self.server.refusals.pop(0)
                self._answer(status, document, headers)
            else:
                self.server.writes.append((asked, self.headers["Authorization"], body.splitlines()))
                self._answer(204)


@contextmanager
def answers(version: str) -> Iterator[Answers]:
    """Serve until the block is left."""
    with Answers(version) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
