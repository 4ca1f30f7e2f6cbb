"""The figures that booking anew replaced, in InfluxDB: a point a job and node's hour, as that counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulebook.collector.store.anew import HOUR_US
from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_lines import line, untag
from joulebook.collector.store.influxdb_settled import HourKey, Pointer

FIELDS = '"booking", "set", "energy_uj", "systematic_uj", "variance_uj2", "until_unix_us"'


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a job's figure was, until a node's hour was settled by a set of Reports."""

    job: str
    key: HourKey
    set_: int
    energy_uj: int
    systematic_uj: int
    variance_uj2: int
    until_unix_us: int


def superseded_lines(
    node: str, hour: int, pointer: Pointer, were: Mapping[str, tuple[int, int, int]], unix_us: int
) -> Iterator[bytes]:
    """Return the points of jobs' figures, which are texts: a variance may be beyond 63 bits."""
    for job, figures in sorted(were.items()):
        fields: dict[str, int | str] = {"booking": pointer.booking, "set": pointer.set_}
        names = ("energy_uj", "systematic_uj", "variance_uj2")
        fields |= {name: str(value) for name, value in zip(names, figures, strict=True)}
        fields["until_unix_us"] = unix_us
        # Each booking of the hour has its own µs.
        at_us = (hour + 1) * HOUR_US + pointer.booking
        yield line("superseded", {"job": job, "node": node}, fields, at_us)


def _replaced(job: str, key: HourKey, row: dict[str, Any]) -> Replaced:
    figures = (int(row["energy_uj"]), int(row["systematic_uj"]), int(row["variance_uj2"]))
    return Replaced(job, key, row["set"], *figures, row["until_unix_us"])


def replaced(
    found: Collection[Series],
    pointers: Callable[[Collection[HourKey]], Mapping[HourKey, Pointer]],
    oldest_us: Callable[[], int],
) -> dict[str, list[Replaced]]:
    """Return the figures by job, in the order in which they were replaced; of those that count.

    pointers: what counts of some hours. What is older than the oldest Report counts.
    """
    rows = []
    for series in found:
        job, node = untag(series.tags["job"]), untag(series.tags["node"])
        for row in series.rows():
            if any(row[name] is None for name in ("set", "energy_uj", "until_unix_us")):
                continue
            at_us = row["time"] - row["booking"]
            key = (node, at_us // HOUR_US - 1)
            rows.append((at_us, _replaced(job, key, row)))
    counting = pointers([one.key for _, one in rows]) if rows else {}
    first_us = oldest_us() if any(one.key not in counting for _, one in rows) else 0
    by_job: dict[str, list[Replaced]] = defaultdict(list)
    for at_us, one in rows:
        pointer = counting.get(one.key)
        known = () if pointer is None else (pointer.set_, *pointer.before)
        if one.set_ in known or (pointer is None and at_us < first_us):
            by_job[one.job].append(one)
    return {job: _once(own) for job, own in by_job.items()}


def _once(own: Sequence[Replaced]) -> list[Replaced]:
    """Return figures in the order in which they were replaced, each change once, whoever made it again."""
    found: dict[tuple[HourKey, int], Replaced] = {}
    for one in sorted(own, key=lambda one: (one.until_unix_us, one.key)):
        found.setdefault((one.key, one.set_), one)
    return list(found.values())
