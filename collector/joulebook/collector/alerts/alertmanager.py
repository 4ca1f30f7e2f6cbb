"""The way to an Alertmanager."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

import httpx

from joulebook.collector.credentials import CredentialsError, authorization

_SHOWN = 300


class DeliveryError(Exception):
    """A request was not taken. is_refusal: the server said so, and reads the next one."""

    def __init__(self, why: str, *, is_refusal: bool = False) -> None:
        super().__init__(why)
        self.is_refusal = is_refusal


class Alertmanager:
    """One server's API v2, through httpx: asynchronous, with connections that are kept and time limits."""

    def __init__(self, url: str, credentials: str, *, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._timeout_s = timeout_s
        # The system's certificates rather than a list that is as old as the package; no proxy: it is near.
        self._client = httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False, timeout=None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, body: bytes) -> None:
        """Hand over alerts. Raises DeliveryError with the server's own words where there are any."""
        headers = {"Content-Type": "application/json"}
        try:
            # Read anew each time: a password may be changed while the collector runs.
            secret = authorization(self._credentials, key="alerts.alertmanager_credentials", token="Bearer")
        except CredentialsError as error:
            raise DeliveryError(str(error)) from error
        if secret:
            headers["Authorization"] = secret
        try:
            # Of the whole request: httpx's own limits begin anew with every byte.
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.post(f"{self.url}/api/v2/alerts", content=body, headers=headers)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise DeliveryError(str(error) or type(error).__name__) from error
        if not answer.is_success:
            words = " ".join(answer.text.split())[:_SHOWN]
            raise DeliveryError(
                f"{answer.status_code} {answer.reason_phrase}: {words}", is_refusal=answer.is_client_error
            )
