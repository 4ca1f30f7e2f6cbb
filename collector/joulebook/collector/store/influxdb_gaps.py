"""What gaps between Reports were booked at, in an InfluxDB store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from joulebook.collector.ledger.domains import CLASSES
from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_lines import untag
from joulebook.collector.store.window import GapBetween

GapKey = tuple[str, bytes, int, int]


def stored_gaps(found: Iterable[Series]) -> dict[GapKey, Sequence[int]]:
    """Return the µJ by class of gaps whose rows are there, from rows of the ledger by node."""
    return {key: uj for series in found for key, uj in _gap_rows(series.tags["node"], series.rows())}


def uj_of(gap: GapBetween, stored: Mapping[GapKey, Sequence[int]]) -> Sequence[int]:
    """Return the µJ by class of a gap: as stored, else as what is on both sides of it says."""
    return stored.get(_key(gap), gap.gap.by_class_uj.tolist())


def _gap_rows(node: str, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[GapKey, Sequence[int]]]:
    for row in rows:
        uj = [row.get(f"{name}_active_uj") for name in CLASSES]
        if None in (row["boot"], row["gap_start_us"], row["gap_end_us"], *uj):
            # It is still being written, field by field: not there yet.
            continue
        key = (untag(node), bytes.fromhex(row["boot"]), row["gap_start_us"], row["gap_end_us"])
        yield key, [value for value in uj if value is not None]


def _key(one: GapBetween) -> GapKey:
    return (one.node, one.boot, one.gap.start_us, one.gap.end_us)
