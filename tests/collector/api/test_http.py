"""The HTTP API answers in the documented shape, and refuses in words."""

import json
import re
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from tests.simulated.cluster import ENDED_JOB, JOB, Cluster

_TIME = "a time from 1970 to 2112: RFC 3339, unix seconds, now, or relative like -1h, -30m, -2d"
_METRIC = "a name of the metric catalogue; did you mean 'energy_uj'?"


def _get(url: str) -> tuple[int, Any, str]:
    """Return status, body and media type."""
    try:
        with urlopen(url) as answer:
            return answer.status, json.load(answer), answer.headers["Content-Type"]
    except HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers["Content-Type"]


def test_ledger(url: str, books: Cluster) -> None:
    """The ledger has exactly its documented members, and balances."""
    status, ledger, media_type = _get(f"{url}/api/v1/ledger?from=0&to=now")
    assert (status, media_type) == (200, "application/json")
    assert list(ledger) == [
        "from",
        "to",
        "node",
        "measured_uj",
        "accounts",
        "rest",
        "residual_uj",
        "unchecked_uj",
        "coverage",
        "forgotten",
    ]
    assert (ledger["from"], ledger["node"]) == ("1970-01-01T00:00:00Z", None)
    assert (ledger["measured_uj"], ledger["residual_uj"]) == (books.measured_uj, 0)
    account = ledger["accounts"][0]
    assert list(account) == [
        "account",
        "energy_uj",
        "active_uj",
        "idle_uj",
        "by_domain",
        "storage_by_tier",
        "plus_minus_uj",
    ]
    assert list(account["by_domain"]) == ["cpu", "memory", "gpu", "storage", "network", "platform"]
    assert list(ledger["coverage"]) == ["measured", "modelled", "missing"]


def test_job(url: str) -> None:
    """A job has exactly its documented members."""
    _, job, _ = _get(f"{url}/api/v1/jobs/{ENDED_JOB}")
    assert job.keys() == {
        "job", "user", "account", "name", "source", "state", "nodes", "start", "end", "exit_status",
        "duration_s", "average_power_mw", "energy_uj", "active_uj", "idle_uj", "by_domain",
        "active_by_domain", "storage_by_tier", "plus_minus_uj", "coverage", "revision", "revised", "settled",
        "superseded", "cost", "co2_grams", "scheduler",
    }  # fmt: skip
    assert (job["start"], job["end"]) == ("2026-09-21T14:13:20Z", "2026-09-21T14:13:50Z")
    assert (job["duration_s"], job["exit_status"]) == (30.0, 3)
    assert (job["revision"], job["revised"]) == (1, None)
    assert (job["settled"], job["superseded"]) == (False, [])
    assert (job["account"], job["cost"], job["co2_grams"], job["scheduler"]) == (None, None, None, None)


def test_lists(url: str) -> None:
    """Lists come under their own name with the cursor of the next page."""
    _, jobs, _ = _get(f"{url}/api/v1/jobs?limit=1")
    assert [job["job"] for job in jobs["jobs"]] == [JOB]
    _, rest, _ = _get(f"{url}/api/v1/jobs?cursor={jobs['next_cursor']}")
    assert ([job["job"] for job in rest["jobs"]], rest["next_cursor"]) == ([ENDED_JOB], None)
    _, nodes, _ = _get(f"{url}/api/v1/nodes")
    assert [node["node"] for node in nodes["nodes"]] == ["n1", "n2"]
    assert _get(f"{url}/api/v1/nodes/n2")[1] == nodes["nodes"][1]


def test_series(url: str) -> None:
    """Series share their times; counters are whole numbers."""
    asked = f"from=1790000000&to=1790000040&step=20s&metric=cpu_us&subject={JOB}"
    _, found, _ = _get(f"{url}/api/v1/series?{asked}")
    assert found["times"] == [1790000020.0, 1790000040.0]
    assert [series["values"] for series in found["series"]] == [[20_000_000, 40_000_000], [40_000_000] * 2]
    assert (found["from"], found["step_s"], found["unit"]) == ("2026-09-21T14:13:20Z", 20.0, "us")


def test_power(url: str, books: Cluster) -> None:
    """Power has exactly its documented members; its buckets add up to what the meters delivered."""
    _, found, _ = _get(f"{url}/api/v1/power?from=1790000000&to=1790000060&step=7s&limit=1")
    assert list(found) == ["from", "to", "step_s", "node", "times", "accounts", "rest_uj", "forgotten"]
    assert list(found["accounts"][0]) == ["account", "energy_uj"]
    named_uj = sum(sum(account["energy_uj"]) for account in found["accounts"])
    assert named_uj + sum(found["rest_uj"]) == books.measured_uj
    assert found["times"][-1] == 1790000060


def test_alerts(url: str) -> None:
    """An alert has exactly its documented members, the newest alert first; filters narrow the list."""
    _, found, _ = _get(f"{url}/api/v1/alerts")
    assert [alert["state"] for alert in found["alerts"]] == ["pending", "firing", "resolved"]
    pending, silent, ended = found["alerts"]
    assert list(pending) == [
        "id", "rule", "severity", "state", "labels", "since", "seen", "firing", "resolved", "resolution",
        "observed_s", "wasted_uj", "evidence", "title", "summary",
    ]  # fmt: skip
    assert pending["labels"] == {"node": "n1", "gpu": "gpu.0", "job": JOB, "user": "ada"}
    assert (pending["severity"], pending["observed_s"], pending["firing"]) == ("warning", 300.0, None)
    assert pending["summary"].startswith("GPU held but idle: gpu.0 on n1, held by run.abc (ada), for 5 min")
    assert (silent["severity"], silent["wasted_uj"], silent["evidence"]) == ("critical", None, {})
    assert ended["evidence"] == {"share": 0.25, "meter": "nvml", "residual_uj": -1}
    assert ended["summary"].endswith("; resolved, the job ended.")
    for query, expected in (
        ("state=firing", [silent]),
        ("rule=cpu_held_idle", [ended]),
        ("node=n1", [pending, ended]),
        (f"job={ENDED_JOB}&node=n1", [ended]),
        ("node=n9", []),
    ):
        assert _get(f"{url}/api/v1/alerts?{query}")[1]["alerts"] == expected


def test_rules(url: str) -> None:
    """A rule in force says what it watches, for how long, and what to do."""
    _, found, _ = _get(f"{url}/api/v1/rules?limit=1")
    assert found["rules"] == [
        {
            "name": "agent_silent",
            "severity": "critical",
            "title": "Agent silent",
            "advice": "Look at the agent's service on the node.",
            "for_s": 120.0,
            "condition": "the node has sent nothing for 120 s",
        }
    ]
    _, rest, _ = _get(f"{url}/api/v1/rules?cursor={found['next_cursor']}")
    assert [rule["name"] for rule in rest["rules"]] == ["cpu_held_idle", "gpu_held_idle"]


@pytest.mark.parametrize(
    ("path", "status", "field", "value", "expected"),
    [
        ("ledger?form=-1h", 400, "parameter", "form", "one of node, from, to, limit; did you mean 'from'?"),
        ("ledger?from=x", 400, "from", "x", _TIME),
        ("ledger?from=-1h&from=-2h", 400, "from", "-2h", "the parameter once"),
        ("ledger?node=n3", 404, "node", "n3", "a node in the books"),
        ("power?node=n3", 404, "node", "n3", "a node in the books"),
        ("power?limit=0", 400, "limit", "0", "a whole number from 1 to 1000"),
        ("jobs?limit=0", 400, "limit", "0", "a whole number from 1 to 1000"),
        ("jobs?limit=many", 400, "limit", "many", "a whole number from 1 to 1000"),
        (f"jobs?limit={'9' * 5000}", 400, "limit", f"{'9' * 120}…", "a whole number from 1 to 1000"),
        ("jobs?cursor=x", 400, "cursor", "x", "the next_cursor of an earlier answer to this question"),
        ("jobs?state=done", 400, "state", "done", "running or ended"),
        ("alerts?state=done", 400, "state", "done", "pending, firing or resolved"),
        ("alerts?rule=gpu_idle", 404, "rule", "gpu_idle", "a rule in force; did you mean 'gpu_held_idle'?"),
        ("alerts?limit=0", 400, "limit", "0", "a whole number from 1 to 1000"),
        ("rules?state=x", 400, "parameter", "state", "one of limit, cursor"),
        ("jobs/run.abd", 404, "job", "run.abd", "a job in the books; did you mean 'run.abc'?"),
        ("jobs/a/b", 404, "job", "a/b", "a job in the books"),
        ("jobs/%00", 404, "job", "\0", "a job in the books"),
        ("nodes/N9?x=", 400, "parameter", "x", "no parameters"),
        ("nodes/zz", 404, "node", "zz", "a node in the books"),
        ("series", 400, "metric", "", "a value; it is required"),
        ("series?metric=energy", 400, "metric", "energy", _METRIC),
        ("nothing", 404, "path", "/api/v1/nothing", "one of the paths in /openapi.json"),
    ],
)  # fmt: skip
def test_refusals(url: str, path: str, status: int, field: str, value: str, expected: str) -> None:
    """A refusal is a problem that names the field, its value and what was expected."""
    found, problem, media_type = _get(f"{url}/api/v1/{path}")
    assert (found, media_type) == (status, "application/problem+json")
    assert (problem["field"], problem["value"], problem["expected"]) == (field, value, expected)
    assert problem["detail"] == f"{field} {value!r}: expected {expected}"
    assert (problem["type"], problem["status"]) == ("about:blank", status)


@pytest.mark.parametrize(
    "text", ["\0", "é", "%", "' OR 1=1 --", "\udcff".encode("utf-8", "surrogatepass").hex()]
)
def test_odd_names_find_nothing(url: str, text: str) -> None:
    """Names that nothing can have are looked for like any other, and not found."""
    for asked in (f"jobs?user={quote(text)}", f"series?metric=energy_uj&subject={quote(text)}"):
        status, found, _ = _get(f"{url}/api/v1/{asked}")
        assert (status, found.get("jobs", found.get("series"))) == (200, [])


def test_other_methods_are_refused(url: str) -> None:
    """What cannot be done to a path is refused with what can."""
    request = Request(f"{url}/api/v1/jobs", method="DELETE")
    with pytest.raises(HTTPError) as refused, urlopen(request):
        pass
    with refused.value as error:
        assert (error.code, error.headers["Allow"]) == (405, "GET")
        assert json.load(error)["detail"] == "method 'DELETE': expected GET"


@pytest.mark.parametrize(("path", "body"), [("healthz", b"ok\n"), ("readyz", b"ready\n")])
def test_health(url: str, path: str, body: bytes) -> None:
    """A collector whose store answers is alive and ready."""
    with urlopen(f"{url}/{path}") as answer:
        assert answer.read() == body


def test_page_asks_nobody_else(url: str) -> None:
    """The page names this collector alone, and each link answers."""
    with urlopen(f"{url}/") as answer:
        page = answer.read().decode()
        assert (
            "default-src 'none'; script-src 'self'; style-src 'self';"
            in answer.headers["Content-Security-Policy"]
        )
    assert "//" not in page
    links = re.findall('(?:href|src)="([^"]+)"', page)
    assert links
    for link in links:
        with urlopen(url + link) as answer:
            assert answer.status == 200
