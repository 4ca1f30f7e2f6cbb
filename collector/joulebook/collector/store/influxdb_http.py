"""The way to an InfluxDB server: lines and questions as its version has them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import urllib3

from joulebook.collector.store.garbled import read_from
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_question import Question, questions
from joulebook.collector.store.influxdb_refusal import refusal
from joulebook.collector.store.line_writer import ClientWriter, FirstWriter, LineWriter, RefusedError, reason
from joulebook.collector.store.protocol import StoreError

# What is no time series is kept in a retention policy of its own, which never forgets.
NAMES = "names"
# Versions that have no /api/v2/write. What does not say its version is taken to have it.
_FIRST = re.compile(r"v?(0|1\.[0-7])\b")


@dataclass(frozen=True, slots=True)
class Series:
    """A part of an answer: its tags, the names of its columns, and its rows."""

    tags: dict[str, str]
    columns: list[str]
    values: list[list[Any]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return each row by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.values)


V = TypeVar("V")


class _Part(msgspec.Struct, Generic[V]):
    columns: list[str]
    tags: dict[str, str | None] = {}
    values: list[list[V]] = []


class _Result(msgspec.Struct, Generic[V]):
    statement_id: Annotated[int, msgspec.Meta(ge=0)] = 0
    series: list[_Part[V]] = []
    error: str = ""


class _Said(msgspec.Struct, Generic[V]):
    results: list[_Result[V]] = []
    error: str = ""


# Nothing that is written here is a fraction or a truth value, nor is the sum of it.
_said = msgspec.json.Decoder(_Said[int | str | None]).decode
_shown = msgspec.json.Decoder(_Said[Any]).decode


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
        self._compress = compress
        self._chosen: LineWriter | None = None
        self._choosing = threading.Lock()
        self._version = ""
        self._pool = urllib3.PoolManager(maxsize=8, retries=urllib3.Retry(1, redirect=0))

    @property
    def place(self) -> str:
        """Return what it is, for people."""
        return f"store {self.address.url}"

    def writes_by(self) -> str:
        """Choose, once, how lines are written, and say it with the version that it follows from.

        Raises StoreError for a server that does not answer.
        """
        writer = self._writer()
        return f"InfluxDB {self._version or 'of a version that it does not say'}, written to by {writer.path}"

    def _writer(self) -> LineWriter:
        with self._choosing:
            if self._chosen is None:
                self._version = self.version()
                url, headers, timeout_s = self.address.url, self._headers, self._timeout_s
                if _FIRST.match(self._version):
                    self._chosen = FirstWriter(url, headers, compress=self._compress, timeout_s=timeout_s)
                else:
                    self._chosen = ClientWriter(
                        url, headers, compress=self._compress, timeout_s=timeout_s, org=self.address.org
                    )
            return self._chosen

    def version(self) -> str:
        """Return what the server says of its version; '' where it does not. Raises StoreError."""
        try:
            answer = self._pool.request(
                "GET", f"{self.address.url}/ping", headers=self._headers, timeout=self._timeout_s
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error
        if answer.status in (401, 403):
            raise self._error(answer.status, answer.data.decode(errors="replace"), self.address.database)
        said = answer.headers.get("X-Influxdb-Version")
        if not said and answer.status == 200:
            # Version 3 says it in the body.
            try:
                said = msgspec.json.decode(answer.data).get("version")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
                said = None
        return str(said or "")

    def api(self, method: str, path: str, body: object = None, *, bearer: bool = False) -> Any:
        """Call the HTTP API of InfluxDB 2 or 3 and return what it answers. Raises StoreError.

        bearer: a token goes under the scheme that version 3 names for its own paths.
        """
        headers = dict(self._headers)
        if bearer and headers.get("Authorization", "").startswith("Token "):
            headers["Authorization"] = "Bearer " + headers["Authorization"].removeprefix("Token ")
        try:
            answer = self._pool.request(
                method,
                self.address.url + path,
                body=None if body is None else msgspec.json.encode(body),
                headers=headers | {"Content-Type": "application/json"},
                timeout=self._timeout_s,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error
        if answer.status not in (200, 201):
            raise self._error(
                answer.status, answer.data.decode(errors="replace"), f"{self.address.database} ({path})"
            )
        with read_from(self.place):
            return msgspec.json.decode(answer.data) if answer.data else None

    def close(self) -> None:
        """Let go of the connections."""
        if self._chosen is not None:
            self._chosen.close()
        self._pool.clear()

    def write(self, body: bytes, policy: str = "") -> None:
        """Write lines with times in µs; they are durable when this returns. Raises StoreError.

        What a server finds too large is written in halves.
        """
        bucket = f"{self.address.database}/{policy}" if policy else self.address.database
        try:
            self._writer().post(bucket, body, "us")
        except RefusedError as error:
            middle = body.find(b"\n", len(body) // 2) + 1
            if error.status == 413 and 0 < middle < len(body):
                self.write(body[:middle], policy)
                self.write(body[middle:], policy)
                return
            raise self._error(error.status, error.said, bucket) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error

    def query(self, *statements: str) -> list[list[Series]]:
        """Ask in InfluxQL; return each statement's series, with times in µs. Raises StoreError."""
        # From here on the version is known.
        self._writer()
        decode = _shown if statements[0].startswith("SHOW ") else _said
        found: list[list[Series]] = [[] for _ in statements]
        for question in questions(self._version, self.address.database, [NAMES], statements):
            answer = self._ask(question)
            if answer.status != 200:
                raise self._error(answer.status, answer.data.decode(errors="replace"), self.address.database)
            for chunk in answer.data.splitlines():
                with read_from(self.place):
                    said = decode(chunk)
                    for result in said.results:
                        if not result.error:
                            for part in result.series:
                                _add(found[question.first + result.statement_id], part, question.tags)
                for refused in (said, *said.results):
                    if refused.error:
                        raise self._error(answer.status, refused.error, self.address.database)
        return found

    def _ask(self, question: Question) -> Any:
        try:
            return self._pool.request(
                question.method,
                f"{self.address.url}/query?{question.parameters}",
                body=question.body or None,
                headers={**self._headers, **question.headers},
                timeout=self._timeout_s,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error

    def _dead(self, error: Exception) -> StoreError:
        return StoreError(f"store {self.address.url}: no InfluxDB answers ({reason(error)}); is it running?")

    def _error(self, status: int | None, said: str, bucket: str) -> Exception:
        return refusal(f"store {self.address.url}, database {bucket!r}", status, said)


def _add(found: list[Series], part: _Part[Any], tags: Sequence[str]) -> None:
    if any(len(row) != len(part.columns) for row in part.values):
        raise ValueError(f"rows of another length than their columns {part.columns}")
    own = dict.fromkeys(tags, "") | {tag: value or "" for tag, value in part.tags.items()}
    if found and found[-1].tags == own and found[-1].columns == part.columns:
        found[-1].values.extend(part.values)
    else:
        found.append(Series(own, part.columns, part.values))
