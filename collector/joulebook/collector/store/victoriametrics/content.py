"""What is stored of one Report, as samples: each a series' name and labels, a time in ms, and an integer.

A sample is a float64, and a server that keeps it as digits and a power of ten rounds beyond 2^53. So whole
numbers are kept below 2^50, and what is above that in a series of its own, whose name ends in _high.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.figures import ENERGIES, FIGURES, TIER_ENERGIES, table_of
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.influxdb_lines import stored_values
from joulebook.v1.catalogue import catalogue

LOW_BITS = 50
LOW = (1 << LOW_BITS) - 1
HIGH = "_high"
# A ledger row's fields, in order. The last two are for dashboards, and energy_uj tells that the row is there.
# What is 0 of the others is left out.
ROW = [*FIGURES, "energy_uj", "idle_uj"]


@dataclass(frozen=True, slots=True)
class Series:
    """What names a series, but for what is only there to be looked at."""

    metric: str
    node: str
    clock: str = ""
    domain: str = ""
    device: str = ""
    workload: str = ""
    account: str = ""
    booking: str = ""


# Times in order, each once, and values.
Samples = dict[Series, tuple[Ints, Ints]]


def slots_of(start_unix_us: int, interval_us: Ints) -> Ints:
    """Return the ms at which intervals are stored: where they end, or later where one took that already."""
    place = np.arange(len(interval_us))
    unix_ms = (start_unix_us + np.cumsum(interval_us)) // 1000
    return np.maximum.accumulate(unix_ms - place) + place


def slots(mark: Mark) -> Ints:
    """Return the ms at which a Report's intervals are stored; its ledger rows are at the last."""
    return slots_of(mark.start_unix_us, mark.ticks_us()[1])


class _Packed(msgspec.Struct, array_like=True):
    values: bytes
    accounts: list[str]
    rows: bytes


@dataclass(frozen=True, eq=False)
class Content:
    """A Report's readings (series, 1 + intervals) and its ledger rows (accounts, as ROW).

    Of another booking than the first it has the rows alone: values is (series, 0).
    """

    values: Ints
    accounts: list[str]
    rows: Ints
    booking: int = 0

    @cached_property
    def packed(self) -> bytes:
        """Return all of it as bytes."""
        return msgspec.msgpack.encode(_Packed(self.values.tobytes(), self.accounts, self.rows.tobytes()))

    @classmethod
    def unpacked(cls, compressed: bytes, layout: NodeLayout, booking: int = 0) -> Content:
        """Read what compressed() gave, of a booking."""
        found = msgspec.msgpack.decode(zlib.decompress(compressed), type=_Packed)
        values = np.frombuffer(found.values, dtype=np.int64)
        values = values.reshape(len(layout.is_counter), 0 if booking else -1)
        rows = np.frombuffer(found.rows, dtype=np.int64)
        rows = rows.reshape(len(found.accounts), len(rows) // max(len(found.accounts), 1))
        if len(found.accounts) and rows.shape[1] == len(ROW) - len(TIER_ENERGIES):
            # It was kept before rows had tiers.
            rows = np.insert(rows, [len(ENERGIES)] * len(TIER_ENERGIES), 0, axis=1)
        return cls(values, found.accounts, rows, booking)

    def compressed(self) -> bytes:
        """Return all of it as few bytes."""
        return zlib.compress(self.packed, 1)

    def digest(self, mark: Mark) -> bytes:
        """Return what tells it from any other content of any Report."""
        place = f"{mark.layout:016x} {mark.start_unix_us} {mark.interval_us} ".encode()
        return hashlib.blake2b(place + self.packed, digest_size=16).digest()

    def readings(self, layout: NodeLayout) -> Ints:
        """Return the value of each series in each interval."""
        return stored_values(self.values, layout.is_counter[:, None])

    def samples(self, layout: NodeLayout, mark: Mark, metrics: Iterable[str] | None = None) -> Samples:
        """Return the samples, of some metrics if they are named."""
        wanted = None if metrics is None else set(metrics)
        times = slots(mark)
        found: Samples = {}

        def add(series: Series, at: Ints, values: Ints) -> None:
            found[series] = (at, values & LOW)
            if (beyond := values > LOW).any():
                found[_high(series)] = (at[beyond], values[beyond] >> LOW_BITS)

        readings = self.values[:, :0] if self.booking else self.readings(layout)
        for row, key in enumerate(layout.series if not self.booking else ()):
            entry = catalogue()[key.metric]
            name = f"{entry.subject}_{entry.name}"
            if wanted is None or name in wanted:
                own = (key.domain, key.device, key.workload)
                add(Series(name, mark.node, mark.clock, *own), times, readings[row])
        booking = booked_as(self.booking)
        for account, row_values in zip(self.accounts, self.rows, strict=True):
            for field, value in zip(ROW, row_values, strict=True):
                name = f"ledger_{field}"
                if (value or field in ROW[-2:]) and (wanted is None or name in wanted):
                    series = Series(name, mark.node, mark.clock, account=account, booking=booking)
                    add(series, times[-1:], value[None])
        return found


def samples_of_rows(some: Iterable[tuple[Mark, Content]], metrics: Iterable[str]) -> Samples:
    """Return the samples of some metrics that the ledger rows of many Reports are."""
    wanted = set(metrics)
    fields = [(i, f"ledger_{name}") for i, name in enumerate(ROW) if f"ledger_{name}" in wanted]
    always = {f"ledger_{name}" for name in ROW[-2:]}
    found: dict[Series, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    named: dict[tuple[str, str, int, str], list[Series]] = {}
    for mark, content in some:
        slot = int(slots(mark)[-1])
        for account, row in zip(content.accounts, content.rows.tolist(), strict=True):
            key = (mark.node, mark.clock, content.booking, account)
            if (own := named.get(key)) is None:
                label = {"account": account, "booking": booked_as(content.booking)}
                own = [Series(metric, mark.node, mark.clock, **label) for _, metric in fields]
                named[key] = own
            for (i, metric), series in zip(fields, own, strict=True):
                if row[i] or metric in always:
                    times, values = found[series]
                    times.append(slot)
                    values.append(row[i])
    result: Samples = {}
    for series, both in found.items():
        at, value = np.array(both, dtype=np.int64)
        order = np.argsort(at, kind="stable")
        at, value = at[order], value[order]
        result[series] = (at, value & LOW)
        if (beyond := value > LOW).any():
            result[_high(series)] = (at[beyond], value[beyond] >> LOW_BITS)
    return result


def booked_as(booking: int) -> str:
    """Return the label of a booking's rows."""
    return str(booking) if booking else ""


def _high(series: Series) -> Series:
    return replace(series, metric=series.metric + HIGH)


def contents_of(reports: list[Decoded], books: Books) -> list[Content]:
    """Return what is to be stored of each Report."""
    idle = books.idle_uj.sum(axis=1)
    rows = np.hstack([table_of(books), np.stack([books.active_uj.sum(axis=1) + idle, idle], axis=1)])
    bounds = np.searchsorted(books.report, np.arange(len(reports) + 1)).tolist()
    return [
        Content(decoded.readings.values, books.account[begin:end], rows[begin:end])
        for decoded, begin, end in zip(reports, bounds[:-1], bounds[1:], strict=True)
    ]


def joined(parts: Iterable[Samples]) -> Samples:
    """Join samples, each time once: what is there twice is there twice the same."""
    found: dict[Series, list[tuple[Ints, Ints]]] = defaultdict(list)
    for part in parts:
        for series, both in part.items():
            found[series].append(both)
    result = {}
    for series, some in found.items():
        times, values = (np.concatenate([pair[i] for pair in some]) for i in (0, 1))
        once, first = np.unique(times, return_index=True)
        result[series] = (once, values[first])
    return result


def whole(samples: Mapping[Series, tuple[Ints, Ints]]) -> Samples:
    """Put each series and what is above it together again."""
    result = {}
    for series, (times, values) in samples.items():
        if series.metric.endswith(HIGH):
            continue
        if (above := samples.get(_high(series))) is not None:
            place = np.searchsorted(times, above[0])
            fits = times[np.minimum(place, len(times) - 1)] == above[0]
            both = values.copy()
            both[place[fits]] += above[1][fits] << LOW_BITS
            result[series] = (times, both)
        else:
            result[series] = (times, values)
    return result
