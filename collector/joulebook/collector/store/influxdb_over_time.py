"""Energy by account and step from InfluxDB's ledger rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.figures import ENERGIES
from joulebook.collector.store.influxdb_http import InfluxServer, Series, literal
from joulebook.collector.store.influxdb_ledger import EACH
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_settled import HourKey, Pointer, RowKey, read_each
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.spread import Booked


def rows_around(
    server: InfluxServer,
    selected: Range,
    marks: Sequence[Mark],
    pointers: Mapping[HourKey, Pointer],
) -> Iterator[Booked]:
    """Return the rows of Reports that may touch a range, settled where they are.

    Of those alone that a mark vouches for.
    """
    known = {(m.node, m.clock, m.end_unix_us) for m in marks}
    condition = where(selected.from_us, selected.to_us, selected.node)
    own = "" if selected.account is None else f' AND "account" = {literal(tagged(selected.account))}'
    (found,) = server.query(
        f'SELECT {EACH} FROM "ledger" WHERE {condition} AND "gap" = \'\'{own} '
        'GROUP BY "account", "node", "clock"'
    )
    # After the pointers: what they say is there.
    more = read_each(server, selected, pointers)
    for series in found:
        yield from _vouched(series, known, more)
    for (node, clock, at_us, account), row in more.items():
        if (node, clock, at_us) in known:
            yield account, _energy_uj(row), row["start_unix_us"], row["end_unix_us"]


def _energy_uj(row: dict[str, Any]) -> int:
    return sum(row.get(name) or 0 for name in ENERGIES)


def _vouched(
    series: Series, known: set[tuple[str, str, int]], more: dict[RowKey, dict[str, int]]
) -> Iterator[Booked]:
    """Return the rows with what they have more, which is taken out of the rest."""
    node, account = untag(series.tags["node"]), untag(series.tags["account"])
    clock = series.tags.get("clock", "")
    for row in series.rows():
        if (node, clock, row["time"]) in known:
            added = more.pop((node, clock, row["time"], account), {})
            yield account, _energy_uj(row) + _energy_uj(added), row["start_unix_us"], row["end_unix_us"]
