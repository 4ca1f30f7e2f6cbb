"""Readings out of InfluxDB: of each series only the points that a mark vouches for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import NodeLayout, SeriesKey
from joulebook.collector.store.influxdb_http import InfluxServer, literal
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_marks import Mark
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Points, RawEnergy
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1.catalogue import MetricEntry, catalogue

Ints = npt.NDArray[np.int64]
# What a series names, as SeriesKey has it: domain, device, workload.
_SUBJECTS = ("domain", "device", "workload")
_Own = tuple[str, ...]
# (node, clock, subjects) → times and values, in order of time.
_Stored = dict[tuple[str, str, _Own], tuple[Ints, Ints]]


def _stored(
    server: InfluxServer, marks: Sequence[Mark], entry: MetricEntry, node: str | None, subject: str | None
) -> _Stored:
    from_us = min(mark.start_unix_us for mark in marks)
    to_us = max(mark.end_unix_us for mark in marks)
    condition = where(from_us, to_us, node)
    if subject:
        condition += f" AND ({_is(entry, subject)})"
    groups = ", ".join(f'"{name}"' for name in ("node", "clock", *entry.subjects))
    (found,) = server.query(
        f'SELECT "{entry.name}" FROM "{entry.subject}" WHERE {condition} GROUP BY {groups}'
    )
    parts: dict[tuple[str, str, _Own], list[Ints]] = defaultdict(list)
    for series in found:
        own = tuple(untag(series.tags[name]) if name in entry.subjects else "" for name in _SUBJECTS)
        key = (untag(series.tags["node"]), series.tags.get("clock", ""), own)
        parts[key].append(np.array(series.values, dtype=np.int64).reshape(-1, 2))
    joined = {key: np.concatenate(part) for key, part in parts.items()}
    return {key: (both[:, 0], both[:, 1]) for key, both in joined.items()}


def _is(entry: MetricEntry, subject: str) -> str:
    """Return the condition that a series is of a subject: by one name, or by workload/domain."""
    either = [f'"{name}" = {literal(tagged(subject))}' for name in entry.subjects]
    workload, _, domain = subject.rpartition("/")
    if len(entry.subjects) > 1 and workload:
        both = f'"workload" = {literal(tagged(workload))} AND "domain" = {literal(tagged(domain))}'
        either.append(f"({both})")
    return " OR ".join(either)


def _at(stored: tuple[Ints, Ints], wanted_us: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the values at some times, and where there are any."""
    times, values = stored
    place = np.minimum(np.searchsorted(times, wanted_us), len(times) - 1)
    there = times[place] == wanted_us
    return np.where(there, values[place], 0), there


def raw_energy(
    server: InfluxServer,
    marks: Sequence[Mark],
    layout: Callable[[str, int], NodeLayout],
    node: str | None,
) -> list[RawEnergy]:
    """Return the raw increments of energy of Reports. What is missing is 0, and so found by the check."""
    if not marks:
        return []
    stored = _stored(server, marks, catalogue()[metrics.METRIC_DOMAIN_ENERGY], node, None)
    ticks = {id(mark): mark.ticks_us()[0] for mark in marks}
    groups: dict[tuple[str, int, int, str], list[Mark]] = defaultdict(list)
    for mark in marks:
        groups[mark.node, mark.layout, len(ticks[id(mark)]), mark.clock].append(mark)
    result = []
    for (name, hash_, length, clock), own in groups.items():
        known = layout(name, hash_)
        wanted_us = np.stack([ticks[id(mark)] for mark in own])
        energy = np.zeros((len(own), len(known.domain_names), length), dtype=np.int64)
        for i, domain in enumerate(known.domain_names):
            one = stored.get((name, clock, (domain, "", "")))
            if one is not None and known.energy_row[i] >= 0:
                energy[:, i] = _at(one, wanted_us)[0]
        result.append(RawEnergy(known, energy))
    return result


def points(
    server: InfluxServer, marks: Sequence[Mark], entry: MetricEntry, node: str | None, subject: str | None
) -> list[Points]:
    """Return a metric's series, Report by Report."""
    if not marks:
        return []
    stored = _stored(server, marks, entry, node, subject)
    ticks: dict[tuple[str, str], list[tuple[int, Ints, Ints]]] = defaultdict(list)
    for mark in marks:
        ticks[mark.node, mark.clock].append((mark.end_unix_us, *mark.ticks_us()))
    parts: dict[tuple[str, _Own], list[tuple[int, Ints, Ints, Ints]]] = defaultdict(list)
    for (name, clock, own), series in stored.items():
        for end_unix_us, wanted_us, lengths in ticks.get((name, clock), ()):
            values, there = _at(series, wanted_us)
            if there.any():
                parts[name, own].append((end_unix_us, wanted_us[there], lengths[there], values[there]))
    result = []
    for (name, own), found in sorted(parts.items(), key=lambda item: item[0]):
        found.sort(key=lambda part: part[0])
        key = SeriesKey(entry.number, *own)
        columns = ([part[i] for part in found] for i in (1, 2, 3))
        result.append(Points(name, key, *(np.concatenate(column) for column in columns)))
    return result
