"""The gRPC service that answers questions, as the HTTP API does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from joulebook.collector.alerts.alert import AlertBook
from joulebook.collector.api.messages import filled
from joulebook.collector.api.routes import Clock, wall_clock_us
from joulebook.collector.queries.alerts import list_alerts, list_rules
from joulebook.collector.queries.errors import QueryError, UnknownNameError
from joulebook.collector.queries.jobs import get_job, list_jobs
from joulebook.collector.queries.ledger import get_ledger
from joulebook.collector.queries.nodes import get_node, list_nodes
from joulebook.collector.queries.pages import DEFAULT_LIMIT, MAX_LIMIT
from joulebook.collector.queries.power import get_power
from joulebook.collector.queries.series import get_series
from joulebook.collector.queries.times import parse_range, parse_step
from joulebook.collector.store.protocol import Store, StoreError
from joulebook.v1 import query_pb2 as pb
from joulebook.v1.query_pb2_grpc import QueryServiceServicer

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


class QueryService(QueryServiceServicer):
    """Answers in threads of its own, so that slow questions hold up neither ingest nor each other."""

    def __init__(
        self, store: Store, alerts: AlertBook, clock: Clock = wall_clock_us, *, threads: int = 8
    ) -> None:
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="query")

    def close(self) -> None:
        """Wait for the questions that are being answered."""
        self._threads.shutdown(cancel_futures=True)

    async def _answer(self, context: Context, question: Callable[[], M]) -> M:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except QueryError as error:
            unknown = isinstance(error, UnknownNameError)
            code = grpc.StatusCode.NOT_FOUND if unknown else grpc.StatusCode.INVALID_ARGUMENT
            await _abort(context, code, str(error))
        except StoreError as error:
            _log.error("%s", error)
            await _abort(context, grpc.StatusCode.UNAVAILABLE, str(error))
        except ValueError as error:
            if "out of range" not in str(error):
                raise
            await _abort(
                context,
                grpc.StatusCode.OUT_OF_RANGE,
                "a sum passes 63 bits; ask for a shorter range or for one node",
            )

    async def ListNodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesResponse:  # noqa: N802
        """List the nodes, by name."""

        def question() -> pb.ListNodesResponse:
            found = list_nodes(
                self._store, limit=_limit(request.limit), cursor=request.cursor, now_us=self._clock()
            )
            nodes = [filled(pb.Node(), node) for node in found.items]
            return pb.ListNodesResponse(nodes=nodes, next_cursor=found.next_cursor)

        return await self._answer(context, question)

    async def GetNode(self, request: pb.GetNodeRequest, context: Context) -> pb.GetNodeResponse:  # noqa: N802
        """Tell about a node."""

        def question() -> pb.GetNodeResponse:
            found = get_node(self._store, request.node, now_us=self._clock())
            return pb.GetNodeResponse(node=filled(pb.Node(), found))

        return await self._answer(context, question)

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:  # noqa: N802
        """List the jobs, the newest first."""

        def question() -> pb.ListJobsResponse:
            found = list_jobs(
                self._store,
                node=request.node if request.HasField("node") else None,
                user=request.user if request.HasField("user") else None,
                account=request.account if request.HasField("account") else None,
                partition=request.partition if request.HasField("partition") else None,
                name=request.name if request.HasField("name") else None,
                state=request.state if request.HasField("state") else None,
                limit=_limit(request.limit),
                cursor=request.cursor,
            )
            jobs = [filled(pb.Job(), job) for job in found.items]
            return pb.ListJobsResponse(jobs=jobs, next_cursor=found.next_cursor)

        return await self._answer(context, question)

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:  # noqa: N802
        """Tell about a job."""

        def question() -> pb.GetJobResponse:
            return pb.GetJobResponse(job=filled(pb.Job(), get_job(self._store, request.job)))

        return await self._answer(context, question)

    async def GetSeries(self, request: pb.GetSeriesRequest, context: Context) -> pb.GetSeriesResponse:  # noqa: N802
        """Give a metric's series in buckets."""

        def question() -> pb.GetSeriesResponse:
            from_us, to_us = parse_range(request.from_time or "-1h", request.to_time or "now", self._clock())
            found = get_series(
                self._store,
                metric=request.metric,
                node=request.node if request.HasField("node") else None,
                subject=request.subject if request.HasField("subject") else None,
                from_us=from_us,
                to_us=to_us,
                step_us=parse_step(request.step) if request.step else None,
                limit=_limit(request.limit),
                cursor=request.cursor,
            )
            return filled(pb.GetSeriesResponse(), found)

        return await self._answer(context, question)

    async def GetPower(self, request: pb.GetPowerRequest, context: Context) -> pb.GetPowerResponse:  # noqa: N802
        """Give what each account received over time, in buckets."""

        def question() -> pb.GetPowerResponse:
            from_us, to_us = parse_range(request.from_time or "-1h", request.to_time or "now", self._clock())
            found = get_power(
                self._store,
                node=request.node if request.HasField("node") else None,
                from_us=from_us,
                to_us=to_us,
                step_us=parse_step(request.step) if request.step else None,
                limit=_limit(request.limit),
            )
            return filled(pb.GetPowerResponse(), found)

        return await self._answer(context, question)

    async def GetLedger(self, request: pb.GetLedgerRequest, context: Context) -> pb.GetLedgerResponse:  # noqa: N802
        """Give the books of a range."""

        def question() -> pb.GetLedgerResponse:
            from_us, to_us = parse_range(request.from_time or "-1h", request.to_time or "now", self._clock())
            node = request.node if request.HasField("node") else None
            limit = request.limit or MAX_LIMIT
            found = get_ledger(self._store, node=node, from_us=from_us, to_us=to_us, limit=limit)
            return filled(pb.GetLedgerResponse(), found)

        return await self._answer(context, question)

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:  # noqa: N802
        """List the alerts, the newest first."""

        def question() -> pb.ListAlertsResponse:
            found = list_alerts(
                self._alerts,
                state=request.state if request.HasField("state") else None,
                rule=request.rule if request.HasField("rule") else None,
                node=request.node if request.HasField("node") else None,
                job=request.job if request.HasField("job") else None,
                limit=_limit(request.limit),
                cursor=request.cursor,
            )
            alerts = [filled(pb.Alert(), alert) for alert in found.items]
            return pb.ListAlertsResponse(alerts=alerts, next_cursor=found.next_cursor)

        return await self._answer(context, question)

    async def ListRules(self, request: pb.ListRulesRequest, context: Context) -> pb.ListRulesResponse:  # noqa: N802
        """List the rules in force, by name."""

        def question() -> pb.ListRulesResponse:
            found = list_rules(self._alerts, limit=_limit(request.limit), cursor=request.cursor)
            rules = [filled(pb.Rule(), rule) for rule in found.items]
            return pb.ListRulesResponse(rules=rules, next_cursor=found.next_cursor)

        return await self._answer(context, question)


def _limit(limit: int) -> int:
    return limit or DEFAULT_LIMIT


async def _abort(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort raises")
