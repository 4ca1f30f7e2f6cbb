"""Booking hours anew in a store of any kind, and what comes of it by the pure ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from joulebook.collector.facts.sqlite_scheduled import TABLE_3
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.keeper import Keeper
from joulebook.collector.store.influxdb import InfluxStore
from joulebook.collector.store.influxdb_settlement import InfluxSettlement
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.victoriametrics.settlement import Settlement
from joulebook.collector.store.victoriametrics.store import VictoriaStore

LATER_US = 1 << 52
# What makes a file of facts one of version 3, which had no bookings and no owners of jobs.
FACTS_3 = f"""
DROP TABLE scheduled; {TABLE_3}
DROP INDEX marks_due; DROP TABLE rebooked_hours; DROP TABLE superseded;
ALTER TABLE marks DROP COLUMN booking; ALTER TABLE marks DROP COLUMN booking_taken;
ALTER TABLE marks DROP COLUMN rebooked; ALTER TABLE revisions DROP COLUMN change;
CREATE TABLE kept_now AS SELECT mark, content FROM kept; DROP TABLE kept;
CREATE TABLE kept (mark INTEGER PRIMARY KEY, content BLOB NOT NULL);
INSERT INTO kept SELECT * FROM kept_now; DROP TABLE kept_now;
PRAGMA user_version = 3;
"""


def settling(store: Store, policy: Policy = Policy.RESERVED) -> Iterator[str]:
    """Return the steps that book all that is due of a store's hours anew, whatever time they are of."""
    match store:
        case VictoriaStore():
            # The server keeps what it was told to, as of now.
            store._retention_ms = None
            return Settlement(store, policy, settle_us=0).steps(LATER_US)
        case InfluxStore():
            return InfluxSettlement(store, policy, settle_us=0).steps(LATER_US)
        case DuckDBStore():
            return Keeper(store, policy=policy, settle_us=0).steps(LATER_US)
    raise TypeError(f"{store!r} settles nothing")


def settled_alone(reports: Iterable[Decoded]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return what all Reports of each node's hours make together, by node and account; nothing of gaps."""
    hours: dict[tuple[str, int], list[Decoded]] = defaultdict(list)
    for one in reports:
        hours[one.node, (_end_us(one) - 1) // HOUR_US].append(one)
    found: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for (node, _), own in hours.items():
        own.sort(key=lambda one: (_end_us(one), one.boot, one.start_us))
        books = settled_books([one.readings for one in own], [one.start for one in own])
        for i, account in enumerate(books.account):
            figures = [*books.active_uj[i].tolist(), *books.idle_uj[i].tolist(), *books.tier_uj[i].tolist()]
            figures += [int(books.modelled_uj[i]), int(books.systematic_uj[i]), int(books.variance_uj2[i])]
            found[node, account].update(dict(enumerate(figures)))
    return {key: tuple(sums[i] for i in range(18)) for key, sums in found.items()}


def _end_us(one: Decoded) -> int:
    return one.end_us + one.realtime_offset_us
