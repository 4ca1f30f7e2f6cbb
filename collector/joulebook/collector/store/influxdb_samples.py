"""Readings out of InfluxDB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from joulebook.collector.facts.mark import Ints, Mark
from joulebook.collector.store.influxdb_http import InfluxServer, literal
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.samples import SUBJECTS, Stored, StoredKey
from joulebook.v1.catalogue import MetricEntry


def read_samples(
    server: InfluxServer, marks: Sequence[Mark], entry: MetricEntry, node: str | None, subject: str | None
) -> Stored:
    """Return what is stored of a metric from the first to the last of some Reports, with times in µs."""
    if not marks:
        return {}
    from_us = min(mark.start_unix_us for mark in marks)
    to_us = max(mark.end_unix_us for mark in marks)
    condition = where(from_us, to_us, node)
    if subject:
        condition += f" AND ({_is(entry, subject)})"
    groups = ", ".join(f'"{name}"' for name in ("node", "clock", *entry.subjects))
    (found,) = server.query(
        f'SELECT "{entry.name}" FROM "{entry.subject}" WHERE {condition} GROUP BY {groups}'
    )
    parts: dict[StoredKey, list[Ints]] = defaultdict(list)
    for series in found:
        own = tuple(untag(series.tags[name]) if name in entry.subjects else "" for name in SUBJECTS)
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
