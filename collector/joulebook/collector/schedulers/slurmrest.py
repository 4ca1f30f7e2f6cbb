"""Slurm asked about jobs through slurmrestd(8): https://slurm.schedmd.com/rest_api.html.

The controller is asked about each job by itself: its other question is about every job of the cluster. What
it has forgotten accounting is asked about, about many in one request.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import ssl
from collections.abc import Callable, Sequence

import httpx
import msgspec

from joulebook.collector.credentials import CredentialsError, secret_of
from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurmrest_answers import NothingError, parse_accounting, parse_controller
from joulebook.collector.schedulers.source import NoAnswerError
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.scheduled import Scheduled

# Thousands of jobs' worth; whoever says more says something else than was asked.
_MOST_BYTES = 64 << 20
_SHOWN = 200
# The newest version of the API whose answers are known; of versions that are all newer the oldest is asked.
_NEWEST = 46
_CONTROLLER = re.compile(r"/slurm/v0\.0\.(\d{1,4})/job/\{job_id\}/?\Z")
_ACCOUNTING = re.compile(r"/slurmdb/v0\.0\.(\d{1,4})/jobs/?\Z")
_TOKEN = "SLURM_JWT="


class RestError(NoAnswerError):
    """What slurmrestd did not answer: where, and why. is_unserved: it has no such question."""

    def __init__(self, why: str, *, is_unserved: bool = False) -> None:
        super().__init__(why)
        self.is_unserved = is_unserved


class _Api(msgspec.Struct):
    paths: dict[str, msgspec.Raw]


class SlurmRest:
    """Asks slurmrestd, by a unix socket or by http(s)."""

    # Requests one after the other: a part is kept before the next is asked for.
    at_once = 50

    def __init__(self, config: SlurmConfig, stats: SchedulerStats, wall_clock_us: Callable[[], int]) -> None:
        self._config = config
        self._stats = stats
        self._wall_clock_us = wall_clock_us
        # The paths of the two questions, once it told which versions it speaks; "": it cannot be asked.
        self._paths: tuple[str, str] | None = None

    async def jobs(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        """Return what the controller or accounting knows of jobs, by number. Raises RestError."""
        async with self._client() as client:
            controller, accounting = self._paths or await self._find_paths(client)
            asked, now_us = frozenset(numbers), self._wall_clock_us()
            found: dict[str, Scheduled] = {}
            for number in numbers:
                said = await self._get(client, f"{controller}{number}")
                found |= self._parsed(parse_controller, said, frozenset((number,)), now_us)
            if accounting and (gone := [number for number in numbers if number not in found]):
                # Of a bare comma it says that it is unable to parse the query.
                try:
                    said = await self._get(client, f"{accounting}?skip_steps=true&step={'%2C'.join(gone)}")
                except RestError as error:
                    # Described and not served: there is no accounting.
                    if not error.is_unserved:
                        raise
                    self._paths = (controller, "")
                else:
                    found |= self._parsed(parse_accounting, said, asked, now_us)
        return found

    def _client(self) -> httpx.AsyncClient:
        socket = self._config.rest.removeprefix("unix:")
        transport = httpx.AsyncHTTPTransport(
            uds=socket if socket != self._config.rest else None, verify=ssl.create_default_context()
        )
        base = "http://localhost" if socket != self._config.rest else self._config.rest.rstrip("/")
        # No proxy: it is near.
        return httpx.AsyncClient(
            base_url=base, transport=transport, headers=self._credentials(), trust_env=False, timeout=None
        )

    def _credentials(self) -> dict[str, str]:
        if not self._config.rest_credentials:
            return {}
        try:
            # Read anew each time: tokens end, and are renewed while the collector runs.
            secret = secret_of(self._config.rest_credentials, key="collector.slurm.rest_credentials")
        except CredentialsError as error:
            raise RestError(str(error)) from error
        if not secret.isascii():
            raise RestError("collector.slurm.rest_credentials: expected a token in ASCII")
        user, colon, token = secret.rpartition(":")
        # 22.05 wants a name beside the token.
        return {
            "X-SLURM-USER-NAME": user if colon else getpass.getuser(),
            "X-SLURM-USER-TOKEN": token.removeprefix(_TOKEN),
        }

    async def _find_paths(self, client: httpx.AsyncClient) -> tuple[str, str]:
        try:
            paths = msgspec.json.decode(await self._get(client, "/openapi/v3"), type=_Api).paths
        except msgspec.DecodeError as error:
            raise self._error(f"/openapi/v3 is no description of its API ({error})") from error
        controller, accounting = (
            [int(found[1]) for path in paths if (found := pattern.match(path))]
            for pattern in (_CONTROLLER, _ACCOUNTING)
        )
        if not controller:
            raise self._error(
                "it serves no /slurm/v0.0.N/job/{job_id}; expected the plugin openapi/slurmctld"
            )
        asks = accounting and self._config.sacct
        self._paths = (
            f"/slurm/v0.0.{_version(controller)}/job/",
            f"/slurmdb/v0.0.{_version(accounting)}/jobs" if asks else "",
        )
        return self._paths

    async def _get(self, client: httpx.AsyncClient, path: str) -> bytes:
        """Return what it says, errors of its own in JSON included."""
        self._stats.questions += 1
        parts, size = [], 0
        try:
            # Of the whole request: httpx's own limits begin anew with every byte.
            async with asyncio.timeout(self._config.timeout_s), client.stream("GET", path) as answer:
                async for part in answer.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > _MOST_BYTES:
                        raise self._error(f"said more than {_MOST_BYTES} bytes")
        except TimeoutError:
            raise self._error(f"no answer within {self._config.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._error(str(error) or type(error).__name__) from error
        said = b"".join(parts)
        if answer.is_success or "json" in answer.headers.get("content-type", ""):
            # A job's name may hold any bytes, and is passed on as it is.
            return said.decode(errors="replace").encode()
        # Another version may run there by now.
        self._paths = None
        words = " ".join(said.decode(errors="replace").split())[:_SHOWN]
        why = f"{answer.status_code} {answer.reason_phrase} to {path[:_SHOWN]} ({words!r})"
        raise self._error(why, is_unserved=answer.status_code == httpx.codes.NOT_FOUND)

    def _parsed(
        self,
        parse: Callable[[bytes, frozenset[str], int], dict[str, Scheduled]],
        said: bytes,
        asked: frozenset[str],
        now_us: int,
    ) -> dict[str, Scheduled]:
        try:
            return parse(said, asked, now_us)
        except NothingError:
            return {}
        except ValueError as error:
            raise self._error(str(error)) from error

    def _error(self, why: str, *, is_unserved: bool = False) -> RestError:
        return RestError(f"slurmrestd at {self._config.rest}: {why}", is_unserved=is_unserved)


def _version(offered: Sequence[int]) -> int:
    known = [version for version in offered if version <= _NEWEST]
    return max(known) if known else min(offered)
