"""What each account received, added up by an InfluxDB server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from joulebook.collector.store.influxdb_gaps import stored_gaps, uj_of
from joulebook.collector.store.influxdb_http import InfluxServer, literal
from joulebook.collector.store.influxdb_ledger import EACH, GAP, SUMMED, Sums
from joulebook.collector.store.influxdb_lines import tagged, untag
from joulebook.collector.store.influxdb_settled import HourKey, Pointer, read_added
from joulebook.collector.store.influxdb_window import where
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.rows import AccountRow
from joulebook.collector.store.window import Window


def read_accounts(
    server: InfluxServer,
    selected: Range,
    pointers: Mapping[HourKey, Pointer],
    window: Window | None,
    window_of: Callable[[Range], Window],
) -> list[AccountRow]:
    """Return what each account received on each node of a range, from the ledger.

    pointers were read before; window is None where no gap is asked for; window_of reads that of a node. The
    server adds up. Where a node has more or fewer rows than its marks vouch for, there are some of a Report
    without a mark among them: those that have one are added up here.
    """
    condition = where(selected.from_us, selected.to_us, selected.node)
    rows = f"{condition} AND \"gap\" = ''"
    own = "" if selected.account is None else f' AND "account" = {literal(tagged(selected.account))}'
    vouched, summed, counted, gap_rows = server.query(
        f'SELECT sum("ledger_rows") FROM "report" WHERE {condition} GROUP BY "node"',
        f'SELECT {SUMMED} FROM "ledger" WHERE {rows}{own} GROUP BY "account", "node"',
        # After the sums: rows only come to be, so as many now as there should be were no more then.
        f'SELECT count("duration_us") FROM "ledger" WHERE {rows} GROUP BY "node"',
        f'SELECT * FROM "ledger" WHERE {condition} AND "gap" = {literal(GAP)} GROUP BY "node"',
    )
    if window is None:
        expected = {untag(s.tags["node"]): int(s.values[0][1]) for s in vouched}
    else:
        expected = defaultdict(int)
        for mark in window.marks:
            expected[mark.node] += mark.ledger_rows
    there = {untag(s.tags["node"]): int(s.values[0][1]) for s in counted}
    odd = {node for node in there | expected if there.get(node, 0) != expected.get(node, 0)}
    sums = Sums()
    sums.add_summed(summed, odd)
    for node in sorted(odd):
        one = Range(selected.from_us, selected.to_us, node)
        marks = window.marks if window else window_of(one).marks
        single = f"{where(one.from_us, one.to_us, node)} AND \"gap\" = ''{own}"
        (found,) = server.query(
            f'SELECT {EACH} FROM "ledger" WHERE {single} GROUP BY "account", "node", "clock"'
        )
        sums.add_marked(found, marks)
    for (node, _), account, row in read_added(server, selected, pointers):
        sums.add_more(account, node, row)
    stored = stored_gaps(gap_rows)
    for gap in window.gaps if window else ():
        sums.add_gap(gap, uj_of(gap, stored))
    return sums.rows()
