"""The way to an InfluxDB server: writes through influxdb-client, questions in InfluxQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import urllib3
from influxdb_client.rest import ApiException

from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.line_writer import LineWriter, reason
from joulebook.collector.store.protocol import BeyondRetentionError, StoreError

# What is no time series is kept in a retention policy of its own, which never forgets.
NAMES = "names"
_CONFLICT = re.compile(
    r'input field "(.*?)" on measurement "(.*?)" is type (\w+), already exists as type (\w+)'
)


@dataclass(frozen=True, slots=True)
class Series:
    """A part of an answer: its tags, the names of its columns, and its rows."""

    tags: dict[str, str]
    columns: list[str]
    values: list[list[Any]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return each row by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.values)


def name(identifier: str) -> str:
    """Quote a name for InfluxQL."""
    return '"' + identifier.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(value: str) -> str:
    """Quote a text for InfluxQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class InfluxServer:
    """One database of a server."""

    def __init__(
        self,
        address: InfluxAddress,
        authorization: str = "",
        *,
        compress: bool = True,
        timeout_s: float = 30.0,
    ) -> None:
        self.address = address
        self._headers = {"Authorization": authorization} if authorization else {}
        self._timeout_s = timeout_s
        self._writer = LineWriter(address.url, self._headers, compress=compress, timeout_s=timeout_s)
        self._pool = urllib3.PoolManager(maxsize=8, retries=urllib3.Retry(1, redirect=0))

    def version(self) -> str:
        """Return what the server says of its version; '' where it does not. Raises StoreError."""
        try:
            answer = self._pool.request("GET", f"{self.address.url}/ping", timeout=self._timeout_s)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error
        return str(answer.headers.get("X-Influxdb-Version") or "")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the HTTP API of InfluxDB 2 and return what it answers. Raises StoreError."""
        try:
            answer = self._pool.request(
                method,
                self.address.url + path,
                body=None if body is None else msgspec.json.encode(body),
                headers=self._headers | {"Content-Type": "application/json"},
                timeout=self._timeout_s,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error
        if answer.status not in (200, 201):
            raise self._error(
                answer.status, answer.data.decode(errors="replace"), f"{self.address.database} ({path})"
            )
        return msgspec.json.decode(answer.data)

    def close(self) -> None:
        """Let go of the connections."""
        self._writer.close()
        self._pool.clear()

    def write(self, body: bytes, policy: str = "") -> None:
        """Write lines with times in µs; they are durable when this returns. Raises StoreError."""
        bucket = f"{self.address.database}/{policy}" if policy else self.address.database
        try:
            self._writer.post(bucket, body, "us")
        except ApiException as error:
            raise self._error(error.status, str(error.body or error.reason), bucket) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error

    def query(self, *statements: str) -> list[list[Series]]:
        """Ask in InfluxQL; return each statement's series, with times in µs. Raises StoreError."""
        fields = {"db": self.address.database, "epoch": "u", "chunked": "true", "q": "; ".join(statements)}
        try:
            answer = self._pool.request(
                "POST",
                f"{self.address.url}/query",
                fields=fields,
                headers=self._headers,
                encode_multipart=False,
                timeout=self._timeout_s,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error
        if answer.status != 200:
            raise self._error(answer.status, answer.data.decode(errors="replace"), self.address.database)
        found: list[list[Series]] = [[] for _ in statements]
        for chunk in answer.data.splitlines():
            said = msgspec.json.decode(chunk)
            for result in said["results"]:
                if "error" in result:
                    raise self._error(answer.status, result["error"], self.address.database)
                for series in result.get("series", ()):
                    _add(found[result["statement_id"]], series)
            if "error" in said:
                raise self._error(answer.status, said["error"], self.address.database)
        return found

    def _dead(self, error: Exception) -> StoreError:
        return StoreError(f"store {self.address.url}: no InfluxDB answers ({reason(error)}); is it running?")

    def _error(self, status: int | None, said: str, bucket: str) -> Exception:
        """Say what a server's refusal means and what to do."""
        where = f"store {self.address.url}, database {bucket!r}"
        said = _message(said)
        if "points beyond retention policy" in said:
            return BeyondRetentionError(f"{where}: older than the database keeps ({said})")
        if conflict := _CONFLICT.search(said):
            field, measurement, ours, theirs = conflict.groups()
            return StoreError(
                f"{where}: field {field!r} of {measurement!r} is {theirs} there, expected {ours}: something "
                f"else writes it; give joulebook a database of its own (nothing was acknowledged; {said})"
            )
        if "not found" in said and ("database" in said or "retention policy" in said or "bucket" in said):
            return StoreError(f"{where}: {said}; make it with `joulebook store setup`")
        if status in (401, 403):
            return StoreError(
                f"{where}: {status} {said}; expected credentials in collector.store_credentials"
            )
        return StoreError(f"{where}: {status} {said}; nothing was acknowledged, its log may say more")


def _add(found: list[Series], series: dict[str, Any]) -> None:
    tags = series.get("tags") or {}
    if found and found[-1].tags == tags and found[-1].columns == series["columns"]:
        found[-1].values.extend(series.get("values") or [])
    else:
        found.append(Series(tags, series["columns"], series.get("values") or []))


def _message(said: str) -> str:
    try:
        body = msgspec.json.decode(said)
    except msgspec.DecodeError:
        return said.strip()[:500]
    if isinstance(body, dict):
        return str(body.get("error") or body.get("message") or said)[:500]
    return said[:500]
