"""InfluxDB 2 is set up through its HTTP API; there is no such server here, so its contract is recorded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_setup import setup
from joulebook.collector.store.protocol import StoreError

TOKEN = "Token t0p"


class InfluxDB2(BaseHTTPRequestHandler):
    """The parts of the InfluxDB 2 API that setup uses, as its OpenAPI document has them."""

    buckets: list[dict[str, Any]]
    dbrps: list[dict[str, Any]]

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _answer(self, status: int, body: Any = None, **headers: str) -> None:
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_GET(self) -> None:
        """Answer /ping, and lists by their filters."""
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/ping":
            self._answer(204, X_Influxdb_Version="v2.7.1", X_Influxdb_Build="OSS")
        elif self.headers["Authorization"] != TOKEN:
            self._answer(401, {"code": "unauthorized", "message": "unauthorized access"})
        elif parts.path == "/api/v2/orgs":
            known = asked["org"] == "lab"
            self._answer(200, {"orgs": [{"id": "0a", "name": "lab"}] if known else []})
        elif parts.path == "/api/v2/buckets":
            self._answer(200, {"buckets": [b for b in self.buckets if b["name"] == asked["name"]]})
        else:
            assert parts.path == "/api/v2/dbrps"
            self._answer(200, {"content": [d for d in self.dbrps if d["database"] == asked["db"]]})

    def do_POST(self) -> None:
        """Make a bucket or a mapping."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.headers["Content-Type"], body["orgID"]) == ("application/json", "0a")
        kept = self.buckets if self.path == "/api/v2/buckets" else self.dbrps
        kept.append(body | {"id": f"{len(kept):02x}"})
        self._answer(201, kept[-1])


@pytest.fixture
def port() -> Iterator[int]:
    """Where the recorded server listens."""
    InfluxDB2.buckets, InfluxDB2.dbrps = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), InfluxDB2) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def server(port: int) -> Iterator[InfluxServer]:
    """A way to it, with a token."""
    made = InfluxServer(InfluxAddress.parse(f"influxdb://127.0.0.1:{port}/energy"), TOKEN)
    yield made
    made.close()


def test_buckets_and_mappings_are_made_once(server: InfluxServer) -> None:
    """Two buckets and two mappings are made, the readings' with retention; a second time nothing is."""
    done = setup(server, retention_s=86_400, org="lab")
    assert len(done) == 4
    assert [(b["name"], b["retentionRules"]) for b in InfluxDB2.buckets] == [
        ("energy", [{"type": "expire", "everySeconds": 86_400}]),
        ("energy/names", []),
    ]
    assert [(d["bucketID"], d["database"], d["retention_policy"], d["default"]) for d in InfluxDB2.dbrps] == [
        ("00", "energy", "autogen", True),
        ("01", "energy", "names", False),
    ]
    assert setup(server, retention_s=86_400, org="lab") == []


def test_organisation_is_needed(server: InfluxServer) -> None:
    """InfluxDB 2 without an organisation, or with one that is not there, says which option to give."""
    with pytest.raises(StoreError, match="name it with --org"):
        setup(server)
    with pytest.raises(StoreError, match="organisation 'lap' is not there"):
        setup(server, org="lap")


def test_token_is_needed(port: int) -> None:
    """A refused token names the setting that it comes from."""
    server = InfluxServer(InfluxAddress.parse(f"influxdb://127.0.0.1:{port}/energy"), "Token wrong")
    with pytest.raises(StoreError, match=r"401 unauthorized access; expected credentials in collector\."):
        setup(server, org="lab")
    server.close()
