"""The way to a VictoriaMetrics: lines go in through influxdb-client, samples come out by export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import urllib3

from joulebook.collector.facts.mark import Ints
from joulebook.collector.store.garbled import read_from
from joulebook.collector.store.line_writer import ClientWriter, RefusedError, reason
from joulebook.collector.store.protocol import StoreError
from joulebook.collector.store.victoriametrics.address import VictoriaAddress

_FLAG = re.compile(r'-(\S+)="(.*)"')
# Of -retentionPeriod; months where it names none. One of 31 days is what the server takes for a month.
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000, "": 31 * 86_400}
_PERIOD = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hdwy]?)")
# Flags under which what is written here cannot be read as it was written, and what each must be.
_MUST_BE = {
    "dedup.minScrapeInterval": ("", "0", "0s", "1ms"),
    "precisionBits": ("64",),
    "influxMeasurementFieldSeparator": ("_",),
    "influxSkipMeasurement": ("false",),
    "influxSkipSingleField": ("false",),
    "influxTrimTimestamp": ("1ms",),
}


# Where none of these is, numpy reads a list of digits and commas to its end, up to the largest number.
_HOLES = (b"[,", b",,", b",]")
_MOST = np.iinfo(np.int64).max


class _Exported(msgspec.Struct):
    metric: dict[str, str]
    values: msgspec.Raw
    timestamps: msgspec.Raw


def quoted(value: str) -> str:
    """Quote a label's value for a selector."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class VictoriaServer:
    """A server, or what leads to a cluster."""

    def __init__(
        self,
        address: VictoriaAddress,
        authorization: str = "",
        *,
        compress: bool = True,
        timeout_s: float = 30.0,
    ) -> None:
        self.address = address
        self._headers = {"Authorization": authorization} if authorization else {}
        self._timeout_s = timeout_s
        self._writer = ClientWriter(address.url, self._headers, compress=compress, timeout_s=timeout_s)
        self._pool = urllib3.PoolManager(maxsize=8, retries=urllib3.Retry(1, redirect=0))

    @property
    def place(self) -> str:
        """Return what it is, for people."""
        return f"store {self.address.url}"

    def close(self) -> None:
        """Let go of the connections."""
        self._writer.close()
        self._pool.clear()

    def write(self, body: bytes) -> None:
        """Write lines with times in ms. They are neither durable nor seen when this returns."""
        try:
            self._writer.post("joulebook", body, "ms")
        except RefusedError as error:
            raise self._error(error.status, error.said) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error

    def export(
        self, selector: str, first_ms: int, last_ms: int
    ) -> Iterator[tuple[dict[str, str], Ints, Ints]]:
        """Return the series of a selector: labels, and times and values of whatever is there, as it is."""
        fields = {"match[]": selector, "start": _seconds(first_ms), "end": _seconds(last_ms)}
        for one in self._ask("/api/v1/export", fields).splitlines():
            with read_from(self.place):
                series = msgspec.json.decode(one, type=_Exported)
                times, values = numbers(series.timestamps), numbers(series.values)
                if len(times) != len(values):
                    raise ValueError(f"{len(values)} values at {len(times)} times")
            yield series.metric, times, values

    def flags(self) -> dict[str, str]:
        """Return the flags that the server was started with; none where it is not the server that answers."""
        answer = self._request("GET", "/flags", None)
        if answer.status != 200:
            return {}
        return dict(_FLAG.findall(answer.data.decode(errors="replace")))

    def retention_ms(self) -> int | None:
        """Return how long samples are kept, None where the server does not tell.

        Raises StoreError for a server that would not give samples back as they were written.
        """
        # A question that needs the credentials: a server that refuses them is told of at once.
        self._ask("/api/v1/export", {"match[]": '{__name__="joulebook"}', "start": "0", "end": "1"})
        flags = self.flags()
        for flag, expected in _MUST_BE.items():
            if flag in flags and flags[flag] not in expected:
                raise StoreError(
                    f"store {self.address.url}: runs with -{flag}={flags[flag]}, under which samples do not "
                    f"come back as they were written; expected {expected[-1]}"
                )
        if not flags:
            return None
        # A month where the flag is not given.
        period = _PERIOD.fullmatch(flags.get("retentionPeriod", "1"))
        with read_from(self.place):
            return int(float(period[1]) * _UNITS[period[2]] * 1000) if period else None

    def _ask(self, path: str, fields: dict[str, str]) -> bytes:
        answer = self._request("POST", path, fields)
        if answer.status != 200:
            raise self._error(answer.status, answer.data.decode(errors="replace"))
        return bytes(answer.data)

    def _request(self, method: str, path: str, fields: dict[str, str] | None) -> Any:
        options: dict[str, Any] = {"encode_multipart": False} if fields else {}
        try:
            return self._pool.request(
                method,
                self.address.url + path,
                fields=fields,
                headers=self._headers | {"Accept-Encoding": "gzip"},
                timeout=self._timeout_s,
                **options,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._dead(error) from error

    def _dead(self, error: Exception) -> StoreError:
        return StoreError(
            f"store {self.address.url}: no VictoriaMetrics answers ({reason(error)}); is it running?"
        )

    def _error(self, status: int | None, said: str) -> StoreError:
        where, said = f"store {self.address.url}", said.strip()[:500]
        if status in (401, 403):
            return StoreError(
                f"{where}: {status} {said}; expected credentials in collector.store_credentials"
            )
        if status == 404:
            return StoreError(f"{where}: 404 {said}; is this a VictoriaMetrics, and its path right?")
        return StoreError(f"{where}: {status} {said}; nothing was acknowledged, its log may say more")


def _seconds(unix_ms: int) -> str:
    # Written out: a float of seconds would not hold every ms of a distant time.
    return f"{unix_ms // 1000}.{unix_ms % 1000:03}"


def numbers(raw: bytes | msgspec.Raw) -> Ints:
    """Read a list of whole numbers. Raises ValueError, OverflowError or msgspec.MsgspecError."""
    text = bytes(raw)
    plain = text[:1] + text[-1:] == b"[]" and not text[1:-1].translate(None, b"0123456789,")
    if plain and not any(hole in text for hole in _HOLES):
        found = np.fromstring(text[1:-1].decode(), dtype=np.int64, sep=",")
        if not (found == _MOST).any():
            return found
    return np.array(msgspec.json.decode(text, type=list[int]), dtype=np.int64)
