"""The paths under /api/v1: parameters in, answers out."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Depends, Response

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.api import alert_models, models, params
from joulebook.collector.api.encoded import answered
from joulebook.collector.api.problems import documented
from joulebook.collector.queries.alerts import list_alerts, list_rules
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.pages import DEFAULT_LIMIT, MAX_LIMIT
from joulebook.collector.queries.power import get_power
from joulebook.collector.queries.series import get_series
from joulebook.collector.queries.times import parse_range, parse_step
from joulebook.collector.store.protocol import Store

Clock = Callable[[], int]
_BAD = documented(HTTPStatus.BAD_REQUEST)
_BAD_OR_UNKNOWN = documented(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)


def wall_clock_us() -> int:
    """Return the wall clock in µs."""
    return time.time_ns() // 1000


def router(store: Store, alerts: AlertBook, clock: Clock) -> APIRouter:
    """Return the routes over a store and alerts. They are not async: each runs in a thread, beside ingest."""
    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(params.only_documented)])

    @routes.get("/nodes", response_model=models.NodePage, responses=_BAD)
    def nodes(limit: params.Limit = DEFAULT_LIMIT, cursor: params.Cursor = None) -> Response:
        """List the nodes, by name."""
        return answered(models.NodePage, list_nodes(store, limit=limit, cursor=cursor, now_us=clock()))

    @routes.get("/nodes/{node}", response_model=models.Node, responses=_BAD_OR_UNKNOWN)
    def node(node: params.NodeName) -> Response:
        """Tell about a node."""
        return answered(models.Node, get_node(store, node, now_us=clock()))

    @routes.get("/jobs", response_model=models.JobPage, responses=_BAD)
    def jobs(
        node: params.OfNode = None,
        user: params.OfUser = None,
        account: params.OfAccount = None,
        partition: params.OfPartition = None,
        name: params.OfName = None,
        state: params.OfState = None,
        limit: params.Limit = DEFAULT_LIMIT,
        cursor: params.Cursor = None,
    ) -> Response:
        """List the jobs, the newest first."""
        found = list_jobs(
            store,
            node=node,
            user=user,
            account=account,
            partition=partition,
            name=name,
            state=state,
            limit=limit,
            cursor=cursor,
        )
        return answered(models.JobPage, found)

    @routes.get("/jobs/{job:path}", response_model=models.Job, responses=_BAD_OR_UNKNOWN)
    def job(job: params.JobId) -> Response:
        """Tell about a job."""
        return answered(models.Job, get_job(store, job))

    @routes.get("/series", response_model=models.SeriesSet, responses=_BAD_OR_UNKNOWN)
    def series(
        metric: params.Metric,
        node: params.OfNode = None,
        subject: params.Subject = None,
        from_: params.From = "-1h",
        to: params.To = "now",
        step: params.Step = None,
        limit: params.Limit = DEFAULT_LIMIT,
        cursor: params.Cursor = None,
    ) -> Response:
        """Give a metric's series in buckets: sums of counters' increments, means of gauges."""
        from_us, to_us = parse_range(from_, to, clock())
        found = get_series(
            store,
            metric=metric,
            node=node,
            subject=subject,
            from_us=from_us,
            to_us=to_us,
            step_us=None if step is None else parse_step(step),
            limit=limit,
            cursor=cursor,
        )
        return answered(models.SeriesSet, found)

    @routes.get("/power", response_model=models.Power, responses=_BAD_OR_UNKNOWN)
    def power(
        node: params.OfNode = None,
        from_: params.From = "-1h",
        to: params.To = "now",
        step: params.Step = None,
        limit: params.MostJobs = DEFAULT_LIMIT,
    ) -> Response:
        """Give what each account received over time, in buckets that add up to the µJ."""
        from_us, to_us = parse_range(from_, to, clock())
        step_us = None if step is None else parse_step(step)
        found = get_power(store, node=node, from_us=from_us, to_us=to_us, step_us=step_us, limit=limit)
        return answered(models.Power, found)

    @routes.get("/ledger", response_model=models.Ledger, responses=_BAD_OR_UNKNOWN)
    def ledger(
        node: params.OfNode = None,
        from_: params.From = "-1h",
        to: params.To = "now",
        limit: params.MostJobs = MAX_LIMIT,
    ) -> Response:
        """Give the books of a range, and whether they balance."""
        from_us, to_us = parse_range(from_, to, clock())
        found = get_ledger(store, node=node, from_us=from_us, to_us=to_us, limit=limit)
        return answered(models.Ledger, found)

    @routes.get("/alerts", response_model=alert_models.AlertPage, responses=_BAD_OR_UNKNOWN)
    def alerts_(
        state: params.OfAlertState = None,
        rule: params.OfRule = None,
        node: params.OfNode = None,
        job: params.OfJob = None,
        limit: params.Limit = DEFAULT_LIMIT,
        cursor: params.Cursor = None,
    ) -> Response:
        """List the alerts, the newest first."""
        found = list_alerts(alerts, state=state, rule=rule, node=node, job=job, limit=limit, cursor=cursor)
        return answered(alert_models.AlertPage, found)

    @routes.get("/rules", response_model=alert_models.RulePage, responses=_BAD)
    def rules(limit: params.Limit = DEFAULT_LIMIT, cursor: params.Cursor = None) -> Response:
        """List the rules in force, by name."""
        return answered(alert_models.RulePage, list_rules(alerts, limit=limit, cursor=cursor))

    return routes
