"""Book whole hours of the past by another policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from joulebook.collector.ledger.policy import Policy
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.duckdb.files import HOUR_US
from joulebook.collector.store.duckdb.rebooking import Rebooking
from joulebook.collector.store.duckdb.store import DuckDBStore
from joulebook.collector.store.duckdb.stored import hours
from joulebook.collector.store.protocol import Range, StoreError


@dataclass(frozen=True, slots=True)
class Rebilled:
    """What an account received in the hours, in µJ, before and after."""

    account: str
    before_uj: int
    after_uj: int


class Rebilling:
    """Books the hours of a range, of all nodes. dry: only says what would become of them."""

    def __init__(self, store: DuckDBStore, policy: Policy, selected: Range, *, dry: bool = False) -> None:
        """Find the hours. Raises StoreError for a range that is not of whole hours, or not kept."""
        for name, time_us in (("from", selected.from_us), ("to", selected.to_us)):
            if time_us % HOUR_US:
                raise StoreError(
                    f"{name} {rfc3339(time_us)}: expected a whole hour (UTC), for hours are booked together; "
                    f"name {rfc3339(time_us // HOUR_US * HOUR_US)}"
                )
        kept_us = max(store.forgotten_us, store.books_kept().rows_us)
        if selected.from_us < kept_us:
            raise StoreError(
                f"from {rfc3339(selected.from_us)}: readings and the ledger's rows are kept from "
                f"{rfc3339(kept_us)} on; name that or later"
            )
        self._rebooking = Rebooking(store, policy)
        self._policy, self._dry = policy, dry
        first, last = selected.from_us // HOUR_US, selected.to_us // HOUR_US
        self.hours = {hour: nodes for hour, nodes in hours(store).items() if first <= hour < last}
        self._before: Counter[str] = Counter()
        for row in store.accounts(selected):
            self._before[row.account] += sum(row.active_uj) + sum(row.idle_uj)
        self._changed: Counter[str] = Counter()

    def steps(self) -> Iterator[int]:
        """Book hour after hour; say after each how many are done."""
        for done, (hour, nodes) in enumerate(sorted(self.hours.items()), start=1):
            for changed in self._rebooking.book(hour, nodes, self._policy, dry=self._dry):
                self._changed.update(changed)
            yield done

    def accounts(self) -> list[Rebilled]:
        """Return what became of each account that received anything, those first that changed most."""
        found = [
            Rebilled(account, self._before[account], self._before[account] + self._changed[account])
            for account in self._before | self._changed
        ]
        return sorted(found, key=lambda one: (-abs(one.after_uj - one.before_uj), one.account))
