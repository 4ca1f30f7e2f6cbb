"""Lines go to a server by /api/v2/write, through influxdb-client, or by the /write of an older InfluxDB 1.

Both compress, try again what may be tried again, and refuse alike.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.retry import WritesRetry
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService

# As /write names them.
_PRECISIONS = {"us": "u", "ms": "ms"}


class RefusedError(Exception):
    """What a server answered to lines that it did not take, after the last try."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status} {said}")
        self.status = status
        self.said = said


class LineWriter(Protocol):
    """A way for lines to one server."""

    path: str

    def post(self, bucket: str, body: bytes, precision: str) -> None:
        """Write lines with times in a precision, us or ms, into a database, or database/retention policy.

        Raises RefusedError, or an error of urllib3's or the system's.
        """

    def close(self) -> None:
        """Let go of the connections."""


class ClientWriter:
    """Writes as InfluxDB has them since 1.8, and VictoriaMetrics."""

    path = "/api/v2/write"

    def __init__(
        self, url: str, headers: Mapping[str, str], *, compress: bool, timeout_s: float, org: str = ""
    ) -> None:
        self._compress = compress
        # InfluxDB 2 alone has organisations; the client wants one for every server.
        self._org = org or "-"
        self._client = InfluxDBClient(url, token="", org=self._org, timeout=int(timeout_s * 1000))
        for key, value in headers.items():
            self._client.api_client.set_default_header(key, value)  # type: ignore[no-untyped-call]
        self._writes = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    def post(self, bucket: str, body: bytes, precision: str) -> None:
        """Write lines."""
        options: dict[str, Any] = {"precision": precision, "urlopen_kw": {"retries": _patience()}}
        if self._compress:
            body, options["content_encoding"] = gzip.compress(body, 1), "gzip"
        try:
            self._writes.post_write(self._org, bucket, body, **options)  # type: ignore[no-untyped-call]
        except ApiException as error:
            raise RefusedError(error.status or 0, str(error.body or error.reason)) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # the client is typed in parts


class FirstWriter:
    """Writes as every InfluxDB 1 has them; before 1.8 there are no others."""

    path = "/write"

    def __init__(self, url: str, headers: Mapping[str, str], *, compress: bool, timeout_s: float) -> None:
        self._url = url + self.path
        self._headers = {**headers, "Content-Type": "text/plain; charset=utf-8"}
        if compress:
            self._headers["Content-Encoding"] = "gzip"
        self._compress = compress
        self._timeout = urllib3.Timeout(total=timeout_s)
        self._pool = urllib3.PoolManager(maxsize=4)

    def post(self, bucket: str, body: bytes, precision: str) -> None:
        """Write lines."""
        database, _, policy = bucket.partition("/")
        asked = {"db": database, "precision": _PRECISIONS[precision]} | ({"rp": policy} if policy else {})
        answer = self._pool.request(
            "POST",
            f"{self._url}?{urlencode(asked)}",
            body=gzip.compress(body, 1) if self._compress else body,
            headers=self._headers,
            timeout=self._timeout,
            retries=_patience(),
        )
        if answer.status != 204:
            raise RefusedError(answer.status, answer.data.decode(errors="replace") or str(answer.reason))

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()


class _Patience(WritesRetry):
    """Tries again where a server is busy; in the end its last answer is the answer."""

    def get_retry_after(self, response: Any) -> float | None:
        """Return how long a server asks for, within reason: agents can wait an hour, a transaction cannot."""
        after_s: float | None = super().get_retry_after(response)  # type: ignore[no-untyped-call]
        return None if after_s is None else min(after_s, self.max_retry_delay)


def _patience() -> _Patience:
    """Return it for one request: it counts the time from when it was made."""
    # Agents keep what is not acknowledged: long patience here would only hide a dead server from them.
    return _Patience(
        total=2,
        retry_interval=1,
        max_retry_time=10,
        max_retry_delay=4,
        allowed_methods=["POST"],
        raise_on_status=False,
    )


def reason(error: Exception) -> str:
    """Return in a few words why a server could not be reached."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    return str(error).rpartition(": ")[2] or type(error).__name__
