"""Samples as a server gives them back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.victoriametrics.content import HIGH, Samples, Series, joined
from joulebook.collector.store.victoriametrics.server import VictoriaServer, quoted

_NAMES = ("account", "booking", "clock", "device", "domain", "node", "workload")


def exported(
    server: VictoriaServer,
    books: str,
    first_slot: int,
    last_slot: int,
    metrics: Iterable[str] = (),
    labels: Mapping[str, str | None] | None = None,
    bookings: Iterable[str] | None = None,
) -> Samples:
    """Return the samples of some books in a stretch of time.

    Of some metrics, labels and bookings if they are named.
    """
    conditions = [f"books={quoted(books)}"]
    if names := "|".join(metrics):
        conditions.append(f"__name__=~{quoted(f'({names})({HIGH})?')}")
    if bookings is not None:
        # What has no such label is of the first booking, as if it had an empty one.
        conditions.append(f"booking=~{quoted('|'.join(sorted(bookings)))}")
    conditions += [f"{name}={quoted(tagged(value))}" for name, value in (labels or {}).items() if value]
    found = server.export("{" + ",".join(conditions) + "}", first_slot, last_slot)
    # A job that told its user late has two series.
    return joined({_series(own): (times, values)} for own, times, values in found)


def _series(labels: Mapping[str, str]) -> Series:
    return Series(labels["__name__"], **{name: untag(labels.get(name, "")) for name in _NAMES})
