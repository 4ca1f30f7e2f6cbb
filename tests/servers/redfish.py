"""A Redfish service over https on loopback: serves a tree of documents, with sessions as DSP0266 has them."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

_TREES = Path(__file__).parents[1] / "fixtures/redfish"
_SESSIONS = "/redfish/v1/SessionService/Sessions"
USER, PASSWORD = "monitor", "correct horse"


@dataclass(slots=True)
class Service:
    """A service that runs: its documents may be changed, and every path may be made to misbehave."""

    url: str
    ca: Path
    credentials: Path
    documents: dict[str, Any]
    tokens: set[str] = field(default_factory=set)
    sessions: bool = True
    # What is sent in place of a document.
    faults: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    # Set when the test ends: whoever hangs may go.
    over: threading.Event = field(default_factory=threading.Event)

    def hang(self, path: str) -> None:
        """Let questions for a path wait for ever."""

        def wait(_: BaseHTTPRequestHandler) -> None:
            self.over.wait(600)

        self.faults[path] = wait

    def answer(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer questions for a path with these bytes."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.faults[path] = send


def documents(tree: str) -> dict[str, Any]:
    """Return the documents of a tree under fixtures/redfish, by their paths."""
    found: dict[str, Any] = json.loads((_TREES / f"{tree}.json").read_text())
    return found


@contextmanager
def redfish(directory: Path, tree: str, names: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Service]:
    """Serve a tree over https, with a certificate for these names, until the block is left."""
    authority = trustme.CA()
    ca, credentials = directory / "ca.pem", directory / "redfish-credentials"
    authority.cert_pem.write_to_path(str(ca))
    credentials.write_text(f"username {USER}\npassword {PASSWORD}\n")
    credentials.chmod(0o600)
    service = Service("", ca, credentials, documents(tree))
    server = _Server(("127.0.0.1", 0), _handler(service))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    # The handshake is the connection's own thread's business: one that does not finish it holds up no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    service.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        service.over.set()
        server.shutdown()
        thread.join()
        server.let_go()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """Ends with all its connections, and says nothing of those that failed."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, *_: object) -> None:
        """Pass over what the other side broke off."""

    def let_go(self) -> None:
        """End connections that are kept."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            service.asked.append(f"GET {self.path}")
            if fault := service.faults.get(self.path):
                fault(self)
                return
            if self.path != "/redfish/v1/" and not self._allowed():
                self._send(401, {"error": {"code": "Base.1.0.NoValidSession"}})
                return
            document = service.documents.get(self.path)
            self._send(404 if document is None else 200, document or {"error": {"code": "Base.1.0.Missing"}})

        def do_POST(self) -> None:
            service.asked.append(f"POST {self.path}")
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if fault := service.faults.get(self.path):
                fault(self)
                return
            if self.path != _SESSIONS or not service.sessions:
                self._send(404, {})
                return
            if json.loads(data) != {"UserName": USER, "Password": PASSWORD}:
                self._send(401, {})
                return
            token = f"token{len(service.asked)}"
            service.tokens.add(token)
            self._send(201, {}, {"X-Auth-Token": token, "Location": f"{_SESSIONS}/{token}"})

        def do_DELETE(self) -> None:
            service.asked.append(f"DELETE {self.path}")
            service.tokens.discard(self.path.rpartition("/")[2])
            self._send(204, None)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _allowed(self) -> bool:
            basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            return (
                self.headers.get("X-Auth-Token") in service.tokens
                or self.headers.get("Authorization") == f"Basic {basic}"
            )

        def _send(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
