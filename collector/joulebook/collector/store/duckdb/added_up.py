"""What is added up, against the rows that it was added up from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any

from joulebook.collector.check.finding import DAY_US, Finding
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rolls import HOUR_US, MINUTE_US
from joulebook.collector.store.protocol import Range

_EVER = Range(0, 1 << 62)
# Of all jobs.
_MOST = 1 << 31


def _summed(view: Reads) -> list[Any]:
    return [astuple(row) for row in view.summed(_EVER, _MOST).accounts]


_QUESTIONS: dict[str, Callable[[Reads, int], Any]] = {
    "days of nodes": lambda view, _: [astuple(row) for row in view.accounts(_EVER)],
    "hours of nodes": lambda view, _: [astuple(row) for row in view.by_buckets(HOUR_US).accounts(_EVER)],
    "watched hours of nodes": lambda view, _: [astuple(row) for row in view.watched(_EVER)],
    "days of all nodes": lambda view, _: _summed(view),
    "hours of all nodes": lambda view, _: _summed(view.by_buckets(HOUR_US)),
    "minutes of all nodes": lambda view, _: _summed(view.by_buckets(MINUTE_US)),
    "totals": lambda view, _: view.energy_by_node(),
    "minutes of time": lambda view, to: sorted(view.energy_over_time(0, to, DAY_US, None, 0)),
    "hours of time": lambda view, to: sorted(view.energy_over_time(0, to + HOUR_US, DAY_US, None, 0)),
}


def wrong_sums(view: Reads) -> Iterator[Finding]:
    """Give what is added up otherwise than the rows say."""
    last_us = max((row.last_unix_us for row in view.nodes()), default=0)
    rows = view.by_rows()
    for what, question in _QUESTIONS.items():
        found, expected = question(view, last_us), question(rows, last_us)
        if found != expected:
            odd = [one for one in found if one not in expected]
            shown = odd[0] if odd else "less"
            yield Finding("sums", "", "", f"{what}: {shown}", "what the rows of the ledger add up to")
