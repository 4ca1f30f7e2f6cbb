"""An API server of Kubernetes over https, as far as pods go: pages, watches, Status objects, tokens, RBAC.

As https://kubernetes.io/docs/reference/using-api/api-concepts/ has it: every change is a version, a list is
a snapshot whose pages have its version, and a watch tells what came after one, or 410 of what is forgotten.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

TOKEN = "eyJhbGciOi.first.token"
USER = "system:serviceaccount:monitoring:joulebook"
Pod = dict[str, Any]


@dataclass(slots=True)
class ApiServer:
    """A cluster whose pods a test makes, changes and deletes; everything may be made to misbehave."""

    url: str
    ca: Path
    token: Path
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    verbs: set[str] = field(default_factory=lambda: {"list", "watch"})
    version: int = 1000
    pods: dict[str, Pod] = field(default_factory=dict)
    events: list[tuple[int, str, Pod]] = field(default_factory=list)
    # What is before it is forgotten (compacted).
    oldest: int = 0
    # Of each question, in place of the answer: (status, body); None: the answer.
    fault: Callable[[dict[str, str]], tuple[int, bytes] | None] = lambda _: None
    asked: list[dict[str, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    # How many watches listen, and how often watches were cut off.
    watching: int = 0
    cuts: int = 0
    over: bool = False

    def put(self, pod: Pod) -> None:
        """Make a pod, or change it."""
        uid = pod["metadata"]["uid"]
        self._note("MODIFIED" if uid in self.pods else "ADDED", pod)

    def delete(self, uid: str) -> None:
        """Take a pod away; watches are told what it was last."""
        self._note("DELETED", self.pods[uid])

    def forget(self) -> None:
        """Forget what happened so far, and end all watches."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.events.clear()
            self.cuts += 1
            self.changed.notify_all()

    def _note(self, kind: str, pod: Pod) -> None:
        with self.changed:
            self.version += 1
            kept = copy.deepcopy(pod)
            kept["metadata"]["resourceVersion"] = str(self.version)
            uid = kept["metadata"]["uid"]
            self.pods.pop(uid, None)
            if kind != "DELETED":
                self.pods[uid] = kept
            self.events.append((self.version, kind, kept))
            self.changed.notify_all()


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """Serve a cluster without pods on loopback until the block ends."""
    authority = trustme.CA()
    ca, token = directory / "ca.crt", directory / "token"
    authority.cert_pem.write_to_path(str(ca))
    token.write_text(TOKEN)
    served = ApiServer("", ca, token)
    server = _Server(("127.0.0.1", 0), _handler(served))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        with served.changed:
            served.over = True
            served.changed.notify_all()
        server.shutdown()
        thread.join()
        server.server_close()


def status_of(code: int, reason: str, message: str) -> dict[str, Any]:
    """Return why something was refused, as the API says it."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Pass over what the other side broke off."""


def _handler(served: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            served.asked.append(asked)
            if (fault := served.fault(asked)) is not None:
                self._send(*fault)
                return
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            verb = "watch" if asked.get("watch") == "true" else "list"
            if token not in served.tokens:
                self._refuse(401, "Unauthorized", "Unauthorized")
            elif url.path != "/api/v1/pods":
                self._refuse(404, "NotFound", "the server could not find the requested resource")
            elif verb not in served.verbs:
                message = f'pods is forbidden: User "{USER}" cannot {verb} resource "pods" in API group "" '
                self._refuse(403, "Forbidden", message + "at the cluster scope")
            elif verb == "watch":
                self._watch(int(asked["resourceVersion"]))
            else:
                self._list(asked)

        def _list(self, asked: dict[str, str]) -> None:
            begin, version = 0, served.version
            if "continue" in asked:
                version, begin = json.loads(base64.b64decode(asked["continue"]))
                if version < served.oldest:
                    message = "The provided continue parameter is too old"
                    self._refuse(410, "Expired", message)
                    return
            pods = list(served.pods.values())
            end = begin + int(asked.get("limit", len(pods)))
            metadata: dict[str, Any] = {"resourceVersion": str(version)}
            if end < len(pods):
                metadata["continue"] = base64.b64encode(json.dumps([version, end]).encode()).decode()
                metadata["remainingItemCount"] = len(pods) - end
            answer = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata}
            self._send(200, json.dumps(answer | {"items": pods[begin:end]}).encode())

        def _watch(self, after: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            cuts = served.cuts
            with served.changed:
                served.watching += 1
                served.changed.notify_all()
            if after < served.oldest:
                gone = status_of(410, "Expired", f"too old resource version: {after} ({served.oldest})")
                self._event("ERROR", gone)
            while not (served.over or cuts != served.cuts or after < served.oldest):
                with served.changed:
                    fresh = [event for event in served.events if event[0] > after]
                    if not fresh:
                        served.changed.wait(60)
                        continue
                for _, kind, pod in fresh:
                    self._event(kind, pod)
                after = fresh[-1][0]
                mark = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(after)}}
                self._event("BOOKMARK", mark)
            served.watching -= 1
            self.wfile.write(b"0\r\n\r\n")

        def _event(self, kind: str, what: dict[str, Any]) -> None:
            line = json.dumps({"type": kind, "object": what}).encode() + b"\n"
            # In pieces, as a network gives them.
            for part in (line[: len(line) // 2], line[len(line) // 2 :]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()

        def _refuse(self, code: int, reason: str, message: str) -> None:
            self._send(code, json.dumps(status_of(code, reason, message)).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
