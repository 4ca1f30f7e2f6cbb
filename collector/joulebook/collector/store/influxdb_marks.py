"""Sequence marks as points: one a Report, written last."""

from __future__ import annotations

from typing import Any

from joulebook.collector.facts.mark import Mark
from joulebook.collector.store.influxdb_http import Series
from joulebook.collector.store.influxdb_lines import line, untag

_INTEGERS = ("start_us", "end_us", "start_unix_us", "ledger_rows", "unread_us", "raised_uj")
_TEXTS = ("layout", "interval_us", "first_uj", "last_uj")
FIELDS = ", ".join(f'"{field}"' for field in (*_INTEGERS, *_TEXTS))


def mark_line(mark: Mark) -> bytes:
    """Return a mark's point."""
    fields: dict[str, int | str] = {field: getattr(mark, field) for field in _INTEGERS}
    fields |= {
        "layout": f"{mark.layout:016x}",
        "interval_us": mark.interval_us,
        "first_uj": mark.first_uj,
        "last_uj": mark.last_uj,
    }
    tags = {"boot": mark.boot.hex(), "clock": mark.clock, "node": mark.node}
    return line("report", tags, fields, mark.end_unix_us)


def marks_in(found: list[Series]) -> list[Mark]:
    """Return the marks of an answer; node, boot and clock are its tags or its columns.

    The server stores a point field by field, so a question may see one that is still being written: it is not
    there yet.
    """
    rows = (series.tags | row for series in found for row in series.rows())
    return [_mark(row) for row in rows if all(row[field] is not None for field in (*_INTEGERS, *_TEXTS))]


def _mark(row: dict[str, Any]) -> Mark:
    return Mark(
        node=untag(row["node"]),
        boot=bytes.fromhex(row["boot"]),
        clock=row["clock"] or "",
        end_unix_us=row["time"],
        layout=int(row["layout"], 16),
        **{name: row[name] for name in (*_INTEGERS, "interval_us", "first_uj", "last_uj")},
    )
