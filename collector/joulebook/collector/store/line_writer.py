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

    def __init__(self, url: str, headers: Mapping[str, str], *, compress: bool, timeout_s: float) -> None:
        self._compress = compress
        # Agents keep what is not acknowledged: long patience here would only hide a dead server from them.
        retries = WritesRetry(
            total=2, retry_interval=1, max_retry_time=10, max_retry_delay=4, allowed_methods=["POST"]
        )
        self._client = InfluxDBClient(url, token="", org="-", timeout=int(timeout_s * 1000), retries=retries)
        for key, value in headers.items():
            self._client.api_client.set_default_header(key, value)  # type: ignore[no-untyped-call]
        self._writes = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    def post(self, bucket: str, body: bytes, precision: str) -> None:
        """Write lines with times in a precision: us or ms."""
        options: dict[str, Any] = {"precision": precision}
        if self._compress:
            body, options["content_encoding"] = gzip.compress(body, 1), "gzip"
        self._writes.post_write("-", bucket, body, **options)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # the client is typed in parts


def reason(error: Exception) -> str:
    """Return in a few words why a server could not be reached."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    return str(error).rpartition(": ")[2] or type(error).__name__
