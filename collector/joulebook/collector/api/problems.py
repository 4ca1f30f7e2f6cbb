"""Errors over HTTP: RFC 9457 problem details, each naming the field, its value and what was expected."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from joulebook.collector.queries.errors import BadValueError, QueryError, UnknownNameError
from joulebook.collector.queries.pages import EXPECTED_LIMIT
from joulebook.collector.store.protocol import StoreError

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# What FastAPI checks by itself, in the words that gRPC uses too.
_EXPECTED = {"limit": EXPECTED_LIMIT}


class Problem(BaseModel):
    """What is wrong, and with what; the last three are null where no one field is to blame."""

    model_config = ConfigDict(extra="forbid")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | None
    value: str | None
    expected: str | None


class _ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a path answers with."""
    schema = Problem.model_json_schema(mode="serialization")
    content = {MEDIA_TYPE: {"schema": schema}}
    known: dict[int | str, dict[str, Any]] = {
        int(status): {"description": status.phrase, "content": content} for status in statuses
    }
    # It also keeps FastAPI from describing errors that are never sent.
    return known | {"default": {"description": "Any other problem", "content": content}}


def problem(
    status: int,
    detail: str,
    field: str | None = None,
    value: str | None = None,
    expected: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem as a response."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        value=value,
        expected=expected,
    )
    return _ProblemResponse(body.model_dump(), status, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error that the app answers with a problem."""
    app.add_exception_handler(QueryError, _query_error)
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failure)


def _query_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, QueryError)
    status = HTTPStatus.NOT_FOUND if isinstance(error, UnknownNameError) else HTTPStatus.BAD_REQUEST
    return problem(status, str(error), error.field, error.value, error.expected)


def _store_error(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s: %s", request.method, request.url.path, error)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, missing = str(first["loc"][-1]), first["type"] == "missing"
    expected = "a value; it is required" if missing else _EXPECTED.get(field, str(first["msg"]))
    wrong = BadValueError(field, "" if missing else str(first["input"]), expected)
    return problem(HTTPStatus.BAD_REQUEST, str(wrong), wrong.field, wrong.value, wrong.expected)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        wrong = UnknownNameError("path", request.url.path, "one of the paths in /openapi.json")
        return problem(error.status_code, str(wrong), wrong.field, wrong.value, wrong.expected)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        expected = (error.headers or {}).get("Allow", "GET")
        wrong = UnknownNameError("method", request.method, expected)
        return problem(
            error.status_code, str(wrong), wrong.field, wrong.value, wrong.expected, headers=error.headers
        )
    return problem(error.status_code, str(error.detail), headers=error.headers)


def _failure(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the collector could not answer; its log says why")
