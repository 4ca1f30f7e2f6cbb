"""The HTTP API of InfluxDB as its documentation has it, on a loopback port: 2 and 3 are not to be had.

Writes are answered with whatever a test says, otherwise taken. Questions must be put as the documentation of
the version has it. They have no rows, or, where a real InfluxDB 1 is behind, those that it finds, in the
shape that the version gives them.

- 2: https://docs.influxdata.com/influxdb/v2/api-guide/influxdb-1x/query/
- 3: https://docs.influxdata.com/influxdb3/core/query-data/execute-queries/influxdb-v1-api/; that it takes one
  statement a request and leaves out tags that a row lacks is what its source does.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import urllib3

TOKEN = "t0p"


class Answers(ThreadingHTTPServer):
    """What the server is, what it was asked, and what it answers to writes."""

    # A test must not wait for connections that clients keep.
    daemon_threads = True

    def __init__(self, version: str, behind: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = version
        # An InfluxDB 1 that keeps what is written: its URL.
        self.behind = behind
        self.pool = urllib3.PoolManager()
        # To the next writes, in order: status, headers, body; then all is taken.
        self.refusals: list[tuple[int, dict[str, str], Any]] = []
        # Of every write: its parameters, its Authorization, and its lines.
        self.writes: list[tuple[dict[str, str], str, list[bytes]]] = []
        # Of every question: its database, and how many statements it had.
        self.asked: list[tuple[str, int]] = []
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

    def kept(self, bucket: str, lines: bytes) -> tuple[int, Any]:
        """Have the server behind keep lines; return its status and document."""
        if not self.behind:
            return 204, None
        database, _, policy = bucket.partition("/")
        asked = {"db": database, "precision": "u"} | ({"rp": policy} if policy else {})
        answer = self.pool.request("POST", f"{self.behind}/write?{urlencode(asked)}", body=lines)
        return answer.status, json.loads(answer.data) if answer.data else None

    def found(self, database: str, policy: str, statements: str) -> dict[str, Any]:
        """Return what the server behind finds, in the shape of version 1."""
        if not self.behind:
            return {"results": [{"statement_id": number} for number in range(statements.count("; ") + 1)]}
        asked = {"db": database, "epoch": "u", "q": statements} | ({"rp": policy} if policy else {})
        answer = self.pool.request("POST", f"{self.behind}/query", fields=asked, encode_multipart=False)
        assert answer.status == 200, answer.data
        document: dict[str, Any] = json.loads(answer.data)
        return document

    def server_close(self) -> None:
        """Let go of the server behind."""
        super().server_close()
        self.pool.clear()


class _Handler(BaseHTTPRequestHandler):
    server: Answers
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _answer(
        self, status: int, body: Any = None, headers: dict[str, str] | None = None, end: bytes = b""
    ) -> None:
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode() + end
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
        """Say which version this is, and which databases there are; answer what version 3 is asked."""
        path, asked = self._asked()
        self.server.pings += path == "/ping"
        major = self.server.version.lstrip("v")[0]
        if path == "/ping" and major in "12":
            self._answer(204, headers={"X-Influxdb-Version": self.server.version})
        elif major == "3" and self.headers["Authorization"] not in (f"Token {TOKEN}", f"Bearer {TOKEN}"):
            self._answer(401)
        elif path == "/ping":
            self._answer(200, {"version": self.server.version, "revision": "f3d3d3d", "process_id": "1"})
        elif path == "/query":
            assert major == "3"
            self._third(asked)
        else:
            assert (path, asked) == ("/api/v3/configure/database", {"format": "json"})
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            self._answer(200, [{"iox::database": name} for name in ("_internal", *self.server.databases)])

    def do_POST(self) -> None:
        """Take lines, answer questions, or make a database."""
        path, asked = self._asked()
        body = self._body()
        if path == "/query":
            self._question(asked, body)
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
                bucket = asked.get("bucket") or "/".join(filter(None, (asked["db"], asked.get("rp"))))
                self._answer(*self.server.kept(bucket, body))

    def _question(self, asked: dict[str, str], body: bytes) -> None:
        """Answer versions 1 and 2: any number of statements, of the databases that are mapped to buckets."""
        if self.server.version.startswith("v2"):
            if self.headers["Authorization"] != f"Token {TOKEN}":
                self._answer(401, {"code": "unauthorized", "message": "unauthorized access"})
                return
            assert self.headers["Content-Type"] == "application/vnd.influxql"
            assert asked.keys() <= {"db", "rp", "epoch"}, asked
            statements = body.decode()
        else:
            assert self.server.version.startswith("1")
            (statements,) = parse_qs(body.decode())["q"]
        assert asked["epoch"] == "u"
        self.server.asked.append((asked["db"], statements.count("; ") + 1))
        found = self.server.found(asked["db"], asked.get("rp", ""), statements)
        self._answer(200, found, {"Content-Type": "application/json"}, b"\n")

    def _third(self, asked: dict[str, str]) -> None:
        """Answer version 3: one statement, of a database whose name has the retention policy in it."""
        assert asked.keys() == {"db", "epoch", "chunked", "q"}, asked
        assert (asked["epoch"], asked["chunked"]) == ("u", "true")
        self.server.asked.append((asked["db"], 1))
        if asked["db"] not in self.server.databases:
            self._answer(404, {"error": f"query error: database not found: {asked['db']}"})
            return
        if "; SELECT" in asked["q"]:
            self._answer(400, {"error": "must provide only one InfluxQl statement per query"})
            return
        # A policy of its own would be another database's, and is not looked for there.
        assert ' FROM "names".' not in asked["q"]
        database, _, policy = asked["db"].partition("/")
        (result,) = self.server.found(database, policy, asked["q"])["results"]
        chunks = [[series] for series in result.get("series", [])] or [[]]
        payload = b""
        for chunk in chunks:
            for series in chunk:
                series["tags"] = {tag: value for tag, value in series.get("tags", {}).items() if value}
            said = {"statement_id": 0} | ({"series": chunk} if chunk else {})
            payload += json.dumps({"results": [said]}).encode() + b"\r\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


@contextmanager
def answers(version: str, behind: str = "") -> Iterator[Answers]:
    """Serve until the block is left, with an InfluxDB 1 behind or with nothing."""
    with Answers(version, behind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
