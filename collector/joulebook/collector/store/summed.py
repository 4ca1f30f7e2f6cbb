"""Sums that a store without roll-ups makes of what it tells by account and node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from joulebook.collector.store.protocol import Range, StoreView
from joulebook.collector.store.rows import AccountRow, Summed, TimeRow

_EVER = Range(0, 1 << 53)
# The account that jobs beyond a limit are summed in.
REST = ""


def summed(view: StoreView, selected: Range, most_jobs: int) -> Summed:
    """Return the books of a range over all of its nodes."""
    by_account: dict[str, list[AccountRow]] = defaultdict(list)
    for row in view.accounts(selected):
        by_account[row.account].append(row)
    accounts = [_one(account, rows) for account, rows in by_account.items()]
    jobs = [row for row in accounts if row.account.startswith("job:")]
    jobs.sort(key=lambda row: (-_energy_uj(row), row.account))
    if rest := jobs[most_jobs:]:
        accounts = [row for row in accounts if row not in rest] + [_one(REST, rest)]
    watched = view.watched(selected)
    times = TimeRow(
        "",
        sum(row.reported_us for row in watched),
        sum(row.unread_us for row in watched),
        sum(row.gap_us for row in watched),
        sum(row.missing_us for row in watched),
        sum(row.raised_uj for row in watched),
    )
    return Summed(sorted(accounts, key=lambda row: row.account), times)


def totals(view: StoreView, accounts: Collection[str], within: Range) -> list[AccountRow]:
    """Return all that some accounts received, by account and node."""
    if len(accounts) == 1:
        (only,) = accounts
        return view.accounts(Range(within.from_us, within.to_us, account=only))
    return [row for row in view.accounts(within) if row.account in accounts]


def energy_by_node(view: StoreView) -> list[tuple[str, str, int]]:
    """Return (node, account, µJ) of all there ever was; all jobs are one account, `job`."""
    energy_uj: dict[tuple[str, str], int] = defaultdict(int)
    for row in view.accounts(_EVER):
        account = "job" if row.account.startswith("job:") else row.account
        energy_uj[row.node, account] += _energy_uj(row)
    return [(*key, uj) for key, uj in sorted(energy_uj.items()) if uj]


def _energy_uj(row: AccountRow) -> int:
    return sum(row.active_uj) + sum(row.idle_uj)


def _one(account: str, rows: list[AccountRow]) -> AccountRow:
    """Add rows up; systematic errors linearly, random ones in quadrature."""
    return AccountRow(
        account,
        "",
        tuple(map(sum, zip(*(row.active_uj for row in rows), strict=True))),
        tuple(map(sum, zip(*(row.idle_uj for row in rows), strict=True))),
        tuple(map(sum, zip(*(row.tier_uj for row in rows), strict=True))),
        sum(row.modelled_uj for row in rows),
        sum(row.systematic_uj for row in rows),
        sum(row.variance_uj2 for row in rows),
        sum(row.observed_us for row in rows),
        min(row.first_unix_us for row in rows),
        max(row.last_unix_us for row in rows),
    )
