"""The whole collector over InfluxDB: what it acknowledges is there, and a dead server is told."""

import json
import os
import signal
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest

from joulebook.v1 import ingest_pb2
from joulebook.v1 import query_pb2 as pb
from joulebook.v1.ingest_pb2_grpc import IngestServiceStub
from joulebook.v1.query_pb2_grpc import QueryServiceStub
from tests.servers.influxdb import influxdb
from tests.simulated.collector import LiveCollector
from tests.simulated.node import Load, SimulatedNode

Request = ingest_pb2.StreamReportsRequest


def test_acknowledged_is_stored_and_a_dead_server_is_told(tmp_path: Path) -> None:
    """An acknowledged Report is answered for; with a dead server there is none, and questions get 503."""
    node = SimulatedNode()
    node.begin([Load("run.abc", cpu_us=1_000_000)])

    def requests() -> list[Request]:
        node.tick()
        layouts = [Request(layouts=[serialized]) for serialized in node.layouts.values()]
        return [*layouts, Request(reports=[node.report().SerializeToString()])]

    with influxdb(tmp_path / "influxdb") as server, LiveCollector(server.fresh()) as live:
        url = f"http://{live.addresses.http}/api/v1/ledger?from=0"
        with grpc.insecure_channel(live.addresses.grpc) as channel:
            stub = IngestServiceStub(channel)
            (answer,) = stub.StreamReports(iter(requests()))
            assert answer.acks[0].code == grpc.StatusCode.OK.value[0]
            measured_uj = node.measured_uj
            with urlopen(url) as response:
                ledger = json.load(response)
            assert (ledger["measured_uj"], ledger["residual_uj"]) == (measured_uj, 0)
            os.kill(server.pid, signal.SIGKILL)
            (answer,) = stub.StreamReports(iter(requests()))
            assert answer.acks[0].code == grpc.StatusCode.UNAVAILABLE.value[0]
            assert "no InfluxDB answers" in answer.acks[0].message
            with pytest.raises(HTTPError) as refused, urlopen(url):
                pass
            assert refused.value.code == 503
            assert json.load(refused.value)["detail"].startswith("store http://127.0.0.1:")
            refused.value.close()
            with pytest.raises(grpc.RpcError) as failed:
                QueryServiceStub(channel).GetLedger(pb.GetLedgerRequest(from_time="0"))
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
