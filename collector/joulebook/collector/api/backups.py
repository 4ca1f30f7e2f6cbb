"""POST /api/v1/backup: whoever is on the collector's machine may have its books backed up there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from joulebook.collector.api import params
from joulebook.collector.api.problems import documented
from joulebook.collector.backup.manifest import BackupError, Manifest
from joulebook.collector.backup.take import check_destination
from joulebook.collector.loopback import is_loopback
from joulebook.collector.queries.errors import BadValueError

# Takes a backup into a directory of the collector's machine.
TakeBackup = Callable[[Path], Manifest]


class BackupWanted(BaseModel):
    """Where a backup goes: a directory that is not there yet, by its absolute path."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=2, max_length=4096)


class BackupMade(BaseModel):
    """A backup that is whole, verified and on the disk."""

    to: str
    bytes: int
    schema_version: int
    nodes: int
    booked_uj: int


def backups(take: TakeBackup) -> APIRouter:
    """Return the route. One backup is taken at a time."""
    routes = APIRouter(prefix="/api/v1", dependencies=[Depends(params.only_documented)])
    taking = threading.Lock()
    refusals = documented(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT)

    @routes.post("/backup", response_model=BackupMade, status_code=HTTPStatus.CREATED, responses=refusals)
    def backup(wanted: BackupWanted, request: Request) -> Any:
        """Back the books up, as they are at one instant, while the collector goes on."""
        _only_from_here(request)
        place = Path(wanted.to)
        try:
            check_destination(place)
        except BackupError as error:
            raise BadValueError("to", wanted.to, str(error)) from error
        if not taking.acquire(blocking=False):
            raise HTTPException(HTTPStatus.CONFLICT, "a backup is being taken; ask again when it is done")
        try:
            manifest = take(place)
        except BackupError as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        finally:
            taking.release()
        return BackupMade(
            to=wanted.to,
            bytes=manifest.total_bytes,
            schema_version=manifest.schema_version,
            nodes=len(manifest.booked_uj),
            booked_uj=sum(manifest.booked_uj.values()),
        )

    return routes


def _only_from_here(request: Request) -> None:
    """Refuse other machines, and web pages of others that a browser on this one shows.

    It writes files as the collector's user: unlike questions it is not for everybody who can reach the port.
    """
    host = request.client.host if request.client else ""
    named = request.headers.get("host", "").rpartition(":")[0]
    from_a_page = request.headers.get("origin") or request.headers.get("sec-fetch-site", "none") != "none"
    passed_on = request.headers.get("forwarded") or request.headers.get("x-forwarded-for")
    if not is_loopback(host) or not is_loopback(named) or from_a_page or passed_on:
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            f"asked from {host or 'nowhere'}: expected `joulebook backup` on the collector's own machine",
        )
