"""POST /api/v1/jobs: schedulers' hooks tell of jobs what no agent sees."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from joulebook.collector.api import params
from joulebook.collector.api.problems import documented
from joulebook.collector.api.told import MAX_BYTES, SCHEMA, parse_told
from joulebook.collector.store.protocol import Store


class JobsTaken(BaseModel):
    """Of how many jobs something was told; it is on the disk."""

    taken: int


def hooks(store: Store, authorization: str, clock: Callable[[], int]) -> APIRouter:
    """Return the route; authorization is the header that a hook must send, and "" turns it off."""
    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(params.only_documented)])
    refusals = documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )
    body = {"required": True, "content": {"application/json": {"schema": SCHEMA}}}

    @routes.post("/jobs", response_model=JobsTaken, responses=refusals, openapi_extra={"requestBody": body})
    async def tell(request: Request) -> Any:
        """Take what a scheduler tells of jobs, and merge it with what is known."""
        _check(request, authorization)
        told = parse_told(await _body(request), clock())
        await run_in_threadpool(store.schedule, told)
        return JobsTaken(taken=len(told))

    return routes


def _check(request: Request, authorization: str) -> None:
    """Refuse who has not the token: who may tell of jobs says who pays for them."""
    if not authorization:
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "nobody may tell of jobs here: set collector.jobs_token to a file with a token",
        )
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), authorization.encode()):
        what = "another" if given else "no"
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            f"{what} authorization: expected the header 'Authorization: Bearer TOKEN' with the token of "
            "collector.jobs_token",
            {"WWW-Authenticate": "Bearer"},
        )


async def _body(request: Request) -> bytes:
    """Return the body, of which no more is read than is taken."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a body of more than {MAX_BYTES} bytes: tell of fewer jobs at a time",
            )
        parts.append(part)
    return b"".join(parts)
