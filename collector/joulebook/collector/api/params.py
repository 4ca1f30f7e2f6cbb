"""Parameters of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request

from joulebook.collector.alerts.alert import STATES as ALERT_STATES
from joulebook.collector.queries.errors import BadValueError, expected_name
from joulebook.collector.queries.jobs import STATES
from joulebook.collector.queries.pages import DEFAULT_LIMIT, MAX_LIMIT
from joulebook.collector.queries.times import STEP_PATTERN, TIME_PATTERN


def _text(description: str, **schema: Any) -> Any:
    """Describe a parameter that the queries check themselves, so that one text serves HTTP and gRPC."""
    return Query(description=description, json_schema_extra=schema or None)


def _time(alias: str, description: str) -> Any:
    return Query(
        alias=alias,
        description=f"{description}: RFC 3339, unix seconds, now, or relative like -1h, -30m, -2d.",
        json_schema_extra={"pattern": TIME_PATTERN},
    )


From = Annotated[str, _time("from", "Start of the range, exclusive")]
To = Annotated[str, _time("to", "End of the range, inclusive")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"Most items; {DEFAULT_LIMIT} by default.")]
MostJobs = Annotated[
    int,
    Query(
        ge=1,
        le=MAX_LIMIT,
        description=f"Most jobs, {DEFAULT_LIMIT} by default; accounts that are no jobs are always there.",
    ),
]
Cursor = Annotated[str | None, _text("next_cursor of the answer before.")]
OfNode = Annotated[str | None, _text("Of this node only.")]
OfUser = Annotated[str | None, _text("Of this user only.")]
OfAccount = Annotated[str | None, _text("Of this account only, as the scheduler told it.", minLength=1)]
OfPartition = Annotated[
    str | None, _text("Of this partition or queue only, as the scheduler told it.", minLength=1)
]
OfName = Annotated[str | None, _text("Of this name only: a job's own, or a pod's NAMESPACE/POD.")]
OfState = Annotated[str | None, _text("In this state only.", enum=[*STATES])]
OfJob = Annotated[str | None, _text("Of this job only.")]
OfRule = Annotated[str | None, _text("Of this rule only.")]
OfAlertState = Annotated[str | None, _text("In this state only.", enum=[*ALERT_STATES])]
Metric = Annotated[str, _text("A name of the metric catalogue: energy_uj, cpu_busy_us …")]
Subject = Annotated[str | None, _text("Of this domain, device or workload only.")]
Step = Annotated[
    str | None,
    _text("Length of a bucket: 10s, 5m, 1h; one that suits by default.", pattern=STEP_PATTERN),
]
NodeName = Annotated[str, Path(description="A node's name.")]
JobId = Annotated[str, Path(description="A job's id: run.abc, slurm.42 …, or its scheduler's: slurm.1234_7.")]


def only_documented(request: Request) -> None:
    """Refuse parameters that the path does not take, or takes once and was given twice."""
    path = request.scope["route"].path_format
    taken = [
        p["name"] for p in request.app.openapi()["paths"][path][request.method.lower()].get("parameters", ())
    ]
    known = [name for name in taken if name not in request.path_params]
    seen = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            what = f"one of {', '.join(known)}" if known else "no parameters"
            raise BadValueError("parameter", name, expected_name(what, name, known))
        if name in seen:
            raise BadValueError(name, value, "the parameter once")
        seen.add(name)
