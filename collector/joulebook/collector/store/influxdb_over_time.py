"""Energy by account and step from InfluxDB's ledger rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from joulebook.collector.ingest.decode import MAX_INTERVAL_US
from joulebook.collector.store.influxdb_http import InfluxServer, Series, literal
from joulebook.collector.store.influxdb_ledger import EACH, ENERGIES
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_marks import Mark
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Range

# (account, energy µJ, start and end of its interval)
Booked = tuple[str, int, int, int]


def rows_around(server: InfluxServer, selected: Range, marks: Sequence[Mark]) -> Iterator[Booked]:
    """Return the rows of Reports that may touch a range; of those alone that a mark vouches for."""
    known = {(m.node, m.clock, m.end_unix_us) for m in marks}
    condition = where(selected.from_us, selected.to_us, selected.node)
    own = "" if selected.account is None else f' AND "account" = {literal(tagged(selected.account))}'
    (found,) = server.query(
        f'SELECT {EACH} FROM "ledger" WHERE {condition} AND "gap" = \'\'{own} '
        'GROUP BY "account", "node", "clock"'
    )
    for series in found:
        yield from _vouched(series, known)


def _vouched(series: Series, known: set[tuple[str, str, int]]) -> Iterator[Booked]:
    node, account = untag(series.tags["node"]), untag(series.tags["account"])
    clock = series.tags.get("clock", "")
    for row in series.rows():
        if (node, clock, row["time"]) in known:
            energy_uj = sum(row.get(name) or 0 for name in ENERGIES)
            yield account, energy_uj, row["start_unix_us"], row["end_unix_us"]


def around(from_us: int, to_us: int, node: str | None) -> Range:
    """Return the range in which every interval ends that may touch (from_us, to_us]."""
    return Range(from_us, to_us + MAX_INTERVAL_US, node)


def spread(booked: Iterator[Booked], from_us: int, to_us: int, step_us: int) -> list[tuple[str, int, int]]:
    """Spread energy evenly over the time of its interval; return (account, step, µJ), none that is 0.

    Up to a moment it is rounded down to whole µJ, so what lies between moments adds up to the whole.
    """
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for account, energy_uj, began_us, ended_us in booked:
        at_us, until_us = max(began_us, from_us), min(ended_us, to_us)
        if not energy_uj or at_us >= until_us:
            continue
        length_us = ended_us - began_us
        while at_us < until_us:
            step = (at_us - from_us) // step_us
            next_us = min(from_us + (step + 1) * step_us, until_us)
            upto = energy_uj * (next_us - began_us) // length_us
            sums[account, step] += upto - energy_uj * (at_us - began_us) // length_us
            at_us = next_us
    return [(account, step, uj) for (account, step), uj in sums.items() if uj]
