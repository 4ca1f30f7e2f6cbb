"""A scheduler's hook tells of jobs to the real server, if it has the token; nobody else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest

from joulebook.v1 import query_pb2
from joulebook.v1.query_pb2_grpc import QueryServiceStub
from tests.simulated.alerts import MadeUpBook
from tests.simulated.api import LiveApi
from tests.simulated.cluster import ENDED_JOB, JOB, cluster

TOKEN = "Bearer a-long-token"


@pytest.fixture
def live(tmp_path: Any) -> Iterator[LiveApi]:
    """A collector with two nodes' books that takes what has the token."""
    books = cluster(f"{tmp_path}/books.duckdb")
    books.store.close()
    with LiveApi(books.path, MadeUpBook(), TOKEN) as live:
        yield live


def ask(url: str, body: bytes | None = None, authorization: str = TOKEN) -> tuple[int, Any]:
    """Return the status and the answer."""
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urlopen(Request(url, body, headers)) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_what_is_told_is_shown(live: LiveApi) -> None:
    """It is there for whoever asks next, over HTTP and gRPC, under the scheduler's name of the job too."""
    url = f"http://{live.addresses.http}/api/v1/jobs"
    body = {
        "jobs": [
            {
                "job": ENDED_JOB,
                "known_as": "40_2",
                "user": "ada",
                "account": "chem",
                "partition": "gpu",
                "start": 20,
                "cpus": 2.5,
            },
            {"job": "slurm.99", "user": "ada"},
        ]
    }
    for _ in range(2):
        assert ask(url, json.dumps(body).encode()) == (200, {"taken": 2})
    _, job = ask(f"{url}/slurm.40_2")
    assert (job["job"], job["user"], job["account"]) == (ENDED_JOB, "ada", "chem")
    told = job["scheduler"].pop("told")
    assert told.startswith("20")
    assert job["scheduler"] == {
        "known_as": "40_2", "user": "ada", "account": "chem", "partition": "gpu", "name": "", "state": "",
        "node_count": None, "cpus": 2.5, "gpus": None, "owner": "", "gpu_parts": "",
        "memory_bytes": None, "submit": None,
        "start": "1970-01-01T00:00:20Z", "end": None, "exit_status": None,
    }  # fmt: skip
    for asked, jobs in (
        ("account=chem", [ENDED_JOB]),
        ("partition=gpu&user=ada", [ENDED_JOB]),
        ("partition=cpu", []),
    ):
        assert [one["job"] for one in ask(f"{url}?{asked}")[1]["jobs"]] == jobs
    for field in ("account", "partition"):
        status, problem = ask(f"{url}?{field}=")
        assert (status, problem["field"], problem["value"]) == (400, field, "")
    status, problem = ask(f"{url}/slurm.99")
    assert (status, problem["expected"]) == (
        404,
        "a job in the books; its scheduler told of it, and no agent has",
    )
    with grpc.insecure_channel(live.addresses.grpc) as channel:
        query = QueryServiceStub(channel)
        found = query.GetJob(query_pb2.GetJobRequest(job=ENDED_JOB)).job
        assert (found.account, found.scheduler.millicpus, found.scheduler.HasField("gpus")) == (
            "chem",
            2500,
            False,
        )
        assert found.scheduler.start_us == 20_000_000
        assert not query.GetJob(query_pb2.GetJobRequest(job=JOB)).job.HasField("scheduler")
        for request, jobs in (
            (query_pb2.ListJobsRequest(account="chem"), [ENDED_JOB]),
            (query_pb2.ListJobsRequest(partition="cpu"), []),
        ):
            assert [one.job for one in query.ListJobs(request).jobs] == jobs
        with pytest.raises(grpc.RpcError, match="partition"):
            query.ListJobs(query_pb2.ListJobsRequest(partition=""))


@pytest.mark.parametrize(
    "given", ["", "Bearer a-long-tokem", "Bearer", "Basic YTpi", "Bearer a-long-token é"]
)
def test_who_has_not_the_token_is_refused(live: LiveApi, given: str) -> None:
    """Nothing is taken from who cannot show the token, and the answer says which header was expected."""
    url = f"http://{live.addresses.http}/api/v1/jobs"
    body = json.dumps({"jobs": [{"job": JOB, "user": "eve"}]}).encode()
    status, problem = ask(url, body, given)
    assert (status, "Authorization: Bearer TOKEN" in problem["detail"]) == (401, True)
    assert ask(f"{url}/{JOB}")[1]["scheduler"] is None


def test_bad_bodies_are_refused(live: LiveApi) -> None:
    """A field that is wrong is named; what is too long is not read, said or not said how long it is."""
    url = f"http://{live.addresses.http}/api/v1/jobs"
    status, problem = ask(url, b'{"jobs": [{"job": "slurm.1", "cpus": "many"}]}')
    assert (status, problem["field"], problem["value"]) == (400, "jobs[0].cpus", "many")
    status, problem = ask(url, b" " * ((1 << 20) + 1))
    assert (status, problem["detail"]) == (
        413,
        "a body of more than 1048576 bytes: tell of fewer jobs at a time",
    )
    assert ask(f"{url}?x=1", b"{}")[0] == 400


def test_it_is_off_unless_a_token_is_set(url: str) -> None:
    """A collector without a token takes nothing, from whoever, and says what to set."""
    status, problem = ask(f"{url}/api/v1/jobs", b'{"jobs": []}')
    assert (status, "set collector.jobs_token" in problem["detail"]) == (403, True)
