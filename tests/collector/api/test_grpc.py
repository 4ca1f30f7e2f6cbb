"""gRPC gives the content of the HTTP API, and the same refusals with precise statuses."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pydantic import BaseModel

from joulebook.collector.api import alert_models, models
from joulebook.v1 import query_pb2 as pb
from joulebook.v1.query_pb2_grpc import QueryServiceStub
from tests.simulated.api import LiveApi
from tests.simulated.cluster import ENDED_JOB, JOB

Ask = Callable[[QueryServiceStub], Message]

BEGIN, END = "1790000000", "1790000040"
RANGE = {"from_time": BEGIN, "to_time": END}
RANGE_HTTP = "from=1790000000&to=1790000040"


@pytest.fixture(scope="module")
def channel(collector: LiveApi) -> Iterator[grpc.Channel]:
    """A channel to the collector."""
    with grpc.insecure_channel(collector.addresses.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> QueryServiceStub:
    """A client of the QueryService."""
    return QueryServiceStub(channel)


def _plain(message: Any) -> Any:
    """Return a message as an object whose unset fields are None."""
    if isinstance(message, pb.SeriesValue):
        return getattr(message, message.WhichOneof("value") or "", None)
    if isinstance(message, pb.Figure):
        return getattr(message, message.WhichOneof("value") or "")
    if not isinstance(message, Message):
        return message
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value: Any = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = {key: _plain(item) for key, item in value.items()}
            continue
        if field.is_repeated:
            value = [_plain(item) for item in value]
        elif field.has_presence and not message.HasField(field.name):
            value = None
        found[field.name] = _plain(value)
    return SimpleNamespace(**found)


def _series_request(**given: Any) -> pb.GetSeriesRequest:
    return pb.GetSeriesRequest(**(RANGE | given))


def _as_json(model: type[BaseModel], message: Message) -> Any:
    return model.model_validate(_plain(message)).model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize(
    ("model", "ask", "path"),
    [
        (models.Job, lambda s: s.GetJob(pb.GetJobRequest(job=JOB)).job, f"jobs/{JOB}"),
        (models.Job, lambda s: s.GetJob(pb.GetJobRequest(job=ENDED_JOB)).job, f"jobs/{ENDED_JOB}"),
        (models.Node, lambda s: s.GetNode(pb.GetNodeRequest(node="n1")).node, "nodes/n1"),
        (models.Node, lambda s: s.GetNode(pb.GetNodeRequest(node="n2")).node, "nodes/n2"),
        (
            models.Ledger,
            lambda s: s.GetLedger(pb.GetLedgerRequest(from_time=BEGIN, to_time=END)),
            f"ledger?{RANGE_HTTP}",
        ),
        (
            models.Ledger,
            lambda s: s.GetLedger(pb.GetLedgerRequest(node="n1", from_time=BEGIN, to_time=END)),
            f"ledger?node=n1&{RANGE_HTTP}",
        ),
        (
            models.SeriesSet,
            lambda s: s.GetSeries(_series_request(metric="energy_uj", step="10s", limit=2)),
            f"series?metric=energy_uj&step=10s&limit=2&{RANGE_HTTP}",
        ),
        (
            models.Power,
            lambda s: s.GetPower(pb.GetPowerRequest(node="n1", step="7s", limit=2, **RANGE)),
            f"power?node=n1&step=7s&limit=2&{RANGE_HTTP}",
        ),
        (
            models.SeriesSet,
            lambda s: s.GetSeries(_series_request(metric="memory_bytes", node="n1")),
            f"series?metric=memory_bytes&node=n1&{RANGE_HTTP}",
        ),
    ],
)
def test_answers_are_those_of_http(
    stub: QueryServiceStub, url: str, model: type[BaseModel], ask: Ask, path: str
) -> None:
    """An answer has the content of the same question over HTTP."""
    with urlopen(f"{url}/api/v1/{path}") as answer:
        assert _as_json(model, ask(stub)) == json.load(answer)


def test_lists_are_those_of_http(stub: QueryServiceStub, url: str) -> None:
    """Lists, their filters and their cursors are those of HTTP."""
    first = stub.ListJobs(pb.ListJobsRequest(limit=1))
    with urlopen(f"{url}/api/v1/jobs?limit=1") as answer:
        over_http = json.load(answer)
    assert [_as_json(models.Job, job) for job in first.jobs] == over_http["jobs"]
    assert first.next_cursor == over_http["next_cursor"]
    second = stub.ListJobs(pb.ListJobsRequest(cursor=first.next_cursor))
    assert ([job.job for job in second.jobs], second.HasField("next_cursor")) == ([ENDED_JOB], False)
    assert [job.job for job in stub.ListJobs(pb.ListJobsRequest(user="ada", state="running")).jobs] == [JOB]
    over_grpc = stub.ListAlerts(pb.ListAlertsRequest(limit=2))
    with urlopen(f"{url}/api/v1/alerts?limit=2") as answer:
        over_http = json.load(answer)
    assert [_as_json(alert_models.Alert, alert) for alert in over_grpc.alerts] == over_http["alerts"]
    assert over_grpc.next_cursor == over_http["next_cursor"]
    over_grpc = stub.ListAlerts(pb.ListAlertsRequest(cursor=over_grpc.next_cursor))
    with urlopen(f"{url}/api/v1/alerts?cursor={over_http['next_cursor']}") as answer:
        assert [_as_json(alert_models.Alert, alert) for alert in over_grpc.alerts] == json.load(answer)[
            "alerts"
        ]
    chosen = pb.ListAlertsRequest(state="pending", rule="gpu_held_idle", node="n1", job=JOB)
    assert [alert.labels["gpu"] for alert in stub.ListAlerts(chosen).alerts] == ["gpu.0"]
    with urlopen(f"{url}/api/v1/rules") as answer:
        rules = [_as_json(alert_models.Rule, rule) for rule in stub.ListRules(pb.ListRulesRequest()).rules]
        assert rules == json.load(answer)["rules"]
    assert [node.node for node in stub.ListNodes(pb.ListNodesRequest()).nodes] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("code", "ask", "path"),
    [
        (grpc.StatusCode.NOT_FOUND, lambda s: s.GetJob(pb.GetJobRequest(job="x")), "jobs/x"),
        (grpc.StatusCode.NOT_FOUND, lambda s: s.GetNode(pb.GetNodeRequest(node="\0")), "nodes/%00"),
        (
            grpc.StatusCode.NOT_FOUND,
            lambda s: s.GetLedger(pb.GetLedgerRequest(node="n9", from_time=BEGIN, to_time=END)),
            f"ledger?node=n9&{RANGE_HTTP}",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.GetLedger(pb.GetLedgerRequest(from_time="soon")),
            "ledger?from=soon",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.ListAlerts(pb.ListAlertsRequest(state="done")),
            "alerts?state=done",
        ),
        (
            grpc.StatusCode.NOT_FOUND,
            lambda s: s.ListAlerts(pb.ListAlertsRequest(rule="gpu_idle")),
            "alerts?rule=gpu_idle",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.ListRules(pb.ListRulesRequest(cursor="x")),
            "rules?cursor=x",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.ListJobs(pb.ListJobsRequest(limit=1001)),
            "jobs?limit=1001",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.ListJobs(pb.ListJobsRequest(cursor="x")),
            "jobs?cursor=x",
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda s: s.GetSeries(pb.GetSeriesRequest(metric="energy_uj", step="x")),
            "series?metric=energy_uj&step=x",
        ),
    ],
)
def test_refusals_are_those_of_http(
    stub: QueryServiceStub, url: str, code: grpc.StatusCode, ask: Ask, path: str
) -> None:
    """A refusal has the text of the same refusal over HTTP, and its own status."""
    with pytest.raises(grpc.RpcError) as refused:
        ask(stub)
    with pytest.raises(HTTPError) as over_http, urlopen(f"{url}/api/v1/{path}"):
        pass
    with over_http.value as error:
        detail = json.load(error)["detail"]
    assert (refused.value.code(), refused.value.details()) == (code, detail)


@pytest.mark.parametrize("service", ["", "joulebook.v1.IngestService", "joulebook.v1.QueryService"])
def test_health(channel: grpc.Channel, service: str) -> None:
    """Health checks find the collector and each of its services serving."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection(channel: grpc.Channel) -> None:
    """Reflection names every service and describes what it takes."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "joulebook.v1.IngestService",
        "joulebook.v1.QueryService",
    } == set(database.get_services())
    described = database.FindFileContainingSymbol("joulebook.v1.QueryService")
    assert [method.name for method in described.service[0].method] == [
        "ListNodes",
        "GetNode",
        "ListJobs",
        "GetJob",
        "GetSeries",
        "GetPower",
        "GetLedger",
        "ListAlerts",
        "ListRules",
    ]
