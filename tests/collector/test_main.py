"""A collector begins, says where it listens, and ends in order; what keeps it from beginning is told."""

import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
import trustme

from joulebook.collector.config import CollectorConfig
from joulebook.collector.listen import StartError
from joulebook.collector.main import store_path
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.protocol import StoreError
from joulebook.v1 import ingest_pb2
from joulebook.v1 import query_pb2 as pb
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from joulebook.v1.query_pb2_grpc import QueryServiceStub
from tests.simulated.collector import LiveCollector
from tests.simulated.node import Load, SimulatedNode

Request = ingest_pb2.StreamReportsRequest


def test_report_is_answered_and_asked_about(tmp_path: Path) -> None:
    """A Report that was acknowledged is in the books of the same collector, and of the next one."""
    node = SimulatedNode()
    node.begin([Load("run.abc", cpu_us=1_000_000)])
    node.tick()
    report = node.report()
    store = tmp_path / "state" / "books.duckdb"
    with LiveCollector(store) as live, grpc.insecure_channel(live.addresses.grpc) as channel:
        requests = [Request(layouts=[serialized]) for serialized in node.layouts.values()]
        requests.append(Request(reports=[report.SerializeToString()]))
        answers = list(IngestServiceStub(channel).StreamReports(iter(requests)))
        assert [ack.code for answer in answers for ack in answer.acks] == [grpc.StatusCode.OK.value[0]]
        ledger = QueryServiceStub(channel).GetLedger(pb.GetLedgerRequest(from_time="0"))
        assert (ledger.measured_uj, ledger.residual_uj) == (node.measured_uj, 0)
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    with LiveCollector(store) as live, grpc.insecure_channel(live.addresses.grpc) as channel:
        assert QueryServiceStub(channel).GetLedger(pb.GetLedgerRequest(from_time="0")).measured_uj > 0


@pytest.mark.parametrize("port", ["http", "grpc"])
def test_port_that_is_taken(tmp_path: Path, port: str) -> None:
    """A port that something else has is named, with what to do, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        expected = f"collector.{port} = '{address}': cannot listen there .*another port with --{port}"
        with pytest.raises(StartError, match=expected), LiveCollector(tmp_path / "books", **{port: address}):
            pass
    # The store is free again.
    with LiveCollector(tmp_path / "books"):
        pass


def test_two_collectors_do_not_share_a_port() -> None:
    """A second collector is refused the first one's gRPC port: else each would get half of the agents."""
    with (
        LiveCollector(":memory:") as first,
        pytest.raises(StartError, match="another collector"),
        LiveCollector(":memory:", grpc=first.addresses.grpc),
    ):
        pass


def test_store_that_another_collector_has(tmp_path: Path) -> None:
    """A store that another process has open is named, and the collector ends with 2."""
    store = tmp_path / "books.duckdb"
    command = [sys.executable, "-m", "joulebook.cli.main", "collector", "--store", str(store)]
    with LiveCollector(store):
        ended = subprocess.run(
            [*command, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert f"store {store}: cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_store_that_is_not_one(tmp_path: Path) -> None:
    """A file that is no store is refused as it is."""
    store = tmp_path / "books.duckdb"
    store.write_text("not a database")
    with pytest.raises(StoreError, match="cannot be opened"), LiveCollector(store):
        pass
    assert store.read_text() == "not a database"


def test_tls(tmp_path: Path) -> None:
    """With a certificate both ports speak TLS, and clients that trust its authority are served."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(certificate), append=True)
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    pair = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with LiveCollector(":memory:", http="localhost:0", grpc="localhost:0", **pair) as live:
        trusting = ssl.create_default_context(cafile=str(ca))
        with urlopen(f"https://{live.addresses.http}/healthz", context=trusting) as answer:
            assert answer.read() == b"ok\n"
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with grpc.secure_channel(live.addresses.grpc, credentials) as channel:
            assert not QueryServiceStub(channel).ListNodes(pb.ListNodesRequest()).nodes
        with grpc.insecure_channel(live.addresses.grpc) as channel, pytest.raises(grpc.RpcError):
            QueryServiceStub(channel).ListNodes(pb.ListNodesRequest())


def test_certificate_that_is_none(tmp_path: Path) -> None:
    """Files that hold no certificate and key are named."""
    file = tmp_path / "cert.pem"
    file.write_text("nothing")
    pair = {"tls_certificate": str(file), "tls_key": str(file)}
    with pytest.raises(StartError, match="expected a PEM certificate"), LiveCollector(":memory:", **pair):
        pass


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({}, 0, "/var/lib/joulebook/joulebook.duckdb"),
        ({"STATE_DIRECTORY": "/var/lib/joulebook"}, 997, "/var/lib/joulebook/joulebook.duckdb"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, 997, "/var/lib/a/joulebook.duckdb"),
        ({"XDG_STATE_HOME": "/home/me/state"}, 7, "/home/me/state/joulebook/joulebook.duckdb"),
    ],
)
def test_where_the_store_is(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], uid: int, expected: str
) -> None:
    """In the service's directory, else in the system's as root, else in the user's."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert store_path(CollectorConfig(), environ) == expected
    assert store_path(CollectorConfig(store="/else"), environ) == "/else"


def test_commit_that_hangs_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The service manager hears of a collector as long as it commits, and no more once a commit hangs."""
    hang, hung = threading.Event(), threading.Event()
    commit = DuckDBStore.commit

    def hanging(*arguments: Any) -> None:
        hung.set()
        hang.wait()
        commit(*arguments)

    monkeypatch.setattr(DuckDBStore, "commit", hanging)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    node = SimulatedNode()
    node.begin([])
    node.tick()
    report = node.report()
    requests = [Request(layouts=node.layouts.values(), reports=[report.SerializeToString()])]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(300)
        with LiveCollector(":memory:") as live, grpc.insecure_channel(live.addresses.grpc) as channel:
            assert manager.recv(4096).startswith(b"READY=1")
            assert manager.recv(4096).startswith(b"WATCHDOG=1")
            answers = IngestServiceStub(channel).StreamReports(iter(requests))
            assert hung.wait(300)
            manager.settimeout(0.5)
            with suppress(TimeoutError):
                while manager.recv(4096).startswith(b"WATCHDOG=1"):
                    pass
                pytest.fail("something else was said")
            hang.set()
            manager.settimeout(300)
            assert [ack.code for ack in next(iter(answers)).acks] == [0]
            # A sign from before the hang may come first.
            while b"1 reports booked" not in manager.recv(4096):
                pass
        said = manager.recv(4096)
        while said.startswith(b"WATCHDOG=1"):
            said = manager.recv(4096)
        assert said.startswith(b"STOPPING=1")
