"""Line protocol, by columns: a Report's numbers are formatted at once by a template of its layout."""

from __future__ import annotations

import base64
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.series_rows import SeriesKey
from joulebook.collector.ledger.stack import Readings
from joulebook.v1.catalogue import catalogue

Ints = npt.NDArray[np.int64]

# A request holds no more lines than this; servers take 5,000 to 10,000 best.
MOST_LINES = 10_000
ENOUGH_LINES = 5_000
# What the server takes in one string field.
_LONGEST_TEXT = 65_000
# A backslash escapes what follows it, so no tag can end with one; what looks like it stands in its place.
_BACKSLASH = "⧵"  # U+29F5, which no name on the wire can hold


def tagged(value: str) -> str:
    """Return a name as a tag keeps it. Names on the wire are printable ASCII; others are spelled out."""
    if not (value.isascii() and value.isprintable()):
        value = value.encode("unicode_escape").decode()
    return value.replace("\\", _BACKSLASH) or "-"


def tag(value: str) -> str:
    """Return a tag's value in line protocol."""
    return tagged(value).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def untag(value: str) -> str:
    """Return the name that a tag keeps."""
    return value.replace(_BACKSLASH, "\\")


def text(value: str) -> str:
    """Return a string field's value, quoted. Raises ValueError for more than a server takes."""
    if len(value.encode()) > _LONGEST_TEXT:
        raise ValueError(f"a text of {len(value.encode())} bytes: InfluxDB takes {_LONGEST_TEXT} in a field")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, int | str], unix_us: int) -> bytes:
    """Return one point. Fields are integers or texts; tags without a value are left out."""
    head = ",".join([measurement, *(f"{name}={tag(tags[name])}" for name in sorted(tags) if tags[name])])
    body = ",".join(
        f"{name}={text(value)}" if isinstance(value, str) else f"{name}={value}i"
        for name, value in fields.items()
    )
    return f"{head} {body} {unix_us}\n".encode()


def packed(serialized: bytes) -> dict[str, int | str]:
    """Return bytes as text fields: parts, part_0, part_1 and so on."""
    whole = base64.b85encode(zlib.compress(serialized)).decode()
    parts = [whole[i : i + _LONGEST_TEXT // 2] for i in range(0, len(whole), _LONGEST_TEXT // 2)]
    return {"parts": len(parts)} | {f"part_{i}": part for i, part in enumerate(parts)}


def unpacked(fields: Mapping[str, object]) -> bytes:
    """Return the bytes that packed() was given."""
    count = fields["parts"]
    if not isinstance(count, int):
        raise TypeError(f"parts {count!r}: expected a number")
    return zlib.decompress(base64.b85decode("".join(str(fields[f"part_{i}"]) for i in range(count))))


class SampleLines:
    """A layout's lines of one interval, and which rows of a Report fill them.

    A point is a subject, or a workload on a domain, at the end of an interval: of counters what was counted
    in it, of gauges the level.
    """

    def __init__(self, layout: NodeLayout, clock: str = "", books: str = "") -> None:
        entries = catalogue()
        self._is_counter = layout.is_counter[:, None]
        count = len(layout.series)
        fields: dict[tuple[str, SeriesKey], list[tuple[str, int]]] = defaultdict(list)
        # The length of the interval stands beside the node's own figures.
        fields["node", SeriesKey(0)] = [("interval_us", count)]
        for row, key in enumerate(layout.series):
            entry = entries[key.metric]
            fields[entry.subject, replace(key, metric=0)].append((entry.name, row))
        lines, rows = [], []
        for (thing, key), named in fields.items():
            subjects = {"domain": key.domain, "device": key.device, "workload": key.workload}
            tags = {"books": books, "node": layout.node, "clock": clock} | subjects
            # '%' is what the numbers are put in by.
            head = ",".join([thing, *(f"{k}={tag(tags[k])}" for k in sorted(tags) if tags[k])])
            body = ",".join(f"{name}=%di" for name, _ in named)
            lines.append(f"{head.replace('%', '%%')} {body} %d\n")
            rows += [*(row for _, row in named), count + 1]
        self._template = "".join(lines).encode()
        self._rows = np.array(rows, dtype=np.int64)
        self.lines = len(lines)
        self.fields = count + 1

    def of(self, decoded: Decoded) -> Iterator[bytes]:
        """Return a Report's lines, in pieces that fit a request."""
        length_us = decoded.readings.interval_us
        unix_us = decoded.start_us + decoded.realtime_offset_us + np.cumsum(length_us)
        values = stored_values(decoded.readings.values, self._is_counter)
        yield from self.pieces(np.vstack([values, length_us, unix_us]))

    def pieces(self, table: Ints) -> Iterator[bytes]:
        """Return lines of a row a series, one of the intervals' lengths, and one of their times."""
        filled = table[self._rows].T
        ticks = max(1, ENOUGH_LINES // self.lines)
        for begin in range(0, len(filled), ticks):
            part = filled[begin : begin + ticks]
            yield self._template * len(part) % tuple(part.ravel().tolist())


def stored_values(values: Ints, is_counter: npt.NDArray[np.bool_]) -> Ints:
    """Return what is stored of readings: of counters what was counted, of gauges the level."""
    change = values[:, 1:]
    return np.where(is_counter, change, values[:, :1] + np.cumsum(change, axis=1))


def readings_of(layout: NodeLayout, interval_us: Ints, stored: Ints) -> Readings:
    """Return what a Report said, of what is stored of it (series, intervals): counters begin at 0."""
    change = np.where(layout.is_counter[:, None], stored, np.diff(stored, prepend=0))
    return Readings(layout, interval_us, np.hstack([np.zeros_like(change[:, :1]), change]))


def requests(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces to bodies of about as many lines as a server takes best."""
    waiting: list[bytes] = []
    lines = 0
    for piece in pieces:
        count = piece.count(b"\n")
        if waiting and lines + count > MOST_LINES:
            yield b"".join(waiting)
            waiting, lines = [], 0
        waiting.append(piece)
        lines += count
    if waiting:
        yield b"".join(waiting)
