"""The checks that a store's kind allows."""

from __future__ import annotations

from joulebook.collector.check.finding import Finding
from joulebook.collector.check.replay import replay as replayed
from joulebook.collector.check.residuals import residuals
from joulebook.collector.config import CollectorConfig
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.duckdb.added_up import wrong_sums
from joulebook.collector.store.duckdb.damage import wrong_files
from joulebook.collector.store.duckdb.file import read_only
from joulebook.collector.store.duckdb.files import Files
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.rows import wrong_rows
from joulebook.collector.store.influxdb_address import is_influxdb
from joulebook.collector.store.opened import open_store
from joulebook.collector.store.protocol import StoreError
from joulebook.collector.store.victoriametrics.address import is_victoriametrics


def checked(config: CollectorConfig, place: str, facts: str, *, replay: bool) -> list[Finding]:
    """Return all that is wrong with a store. Raises StoreError."""
    if not (is_influxdb(place) or is_victoriametrics(place)):
        with read_only(place) as connection:
            return embedded(Reads(connection, Files(place)), config.policy if replay else None)
    if replay:
        raise StoreError(f"store {place}: --replay is for embedded stores; a server keeps no whole Reports")
    store = open_store(place, credentials=config.store_credentials, facts=facts)
    try:
        with store.snapshot() as frozen:
            return list(residuals(frozen))
    finally:
        store.close()


def embedded(view: Reads, replay: Policy | None = None) -> list[Finding]:
    """Return all that is wrong with an embedded store; replay: the policy that its Reports are booked by."""
    with view.snapshot() as frozen:
        if damaged := list(wrong_files(frozen)):
            # Books cannot be held against readings that are not there; nor does a part of them say more.
            return damaged
        found = list(wrong_rows(frozen))
        if any(finding.check == "orphan" for finding in found):
            # What belongs to nothing cannot be read as a Report; there is no use in going on.
            return found
        # From rows, and then whether what questions are answered from is the same.
        found += residuals(frozen.by_rows())
        found += wrong_sums(frozen)
        return found if replay is None else [*found, *replayed(frozen, replay)]
