"""Lines go to a server through influxdb-client: /api/v2/write, gzip, and what may be tried again."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.retry import WritesRetry
from influxdb_client.service.write_service import WriteService


class LineWriter:
    """Writes of lines to one server. They raise ApiException, or an error of urllib3's or the system's."""

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
        """Write lines with times in a precision: us or ms."""
        # One for each request: it counts the time from when it was made.
        options: dict[str, Any] = {"precision": precision, "urlopen_kw": {"retries": _patience()}}
        if self._compress:
            body, options["content_encoding"] = gzip.compress(body, 1), "gzip"
        self._writes.post_write(self._org, bucket, body, **options)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # the client is typed in parts


class _Patience(WritesRetry):
    """Tries again where a server is busy; in the end its last answer is the answer."""

    def get_retry_after(self, response: Any) -> float | None:
        """Return how long a server asks for, within reason: agents can wait an hour, a transaction cannot."""
        after_s: float | None = super().get_retry_after(response)  # type: ignore[no-untyped-call]
        return None if after_s is None else min(after_s, self.max_retry_delay)


def _patience() -> _Patience:
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
