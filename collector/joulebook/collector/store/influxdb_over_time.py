"""Energy by account and step from InfluxDB's ledger rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulebook.collector.facts.mark import Mark
from joulebook.collector.store.influxdb_http import InfluxServer, Series, literal
from joulebook.collector.store.influxdb_ledger import EACH, ENERGIES
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.spread import Booked


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
