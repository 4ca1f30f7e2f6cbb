"""The books of a range: every account, and whether they balance."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.queries.audit import measured_in
from joulebook.collector.queries.errors import UnknownNameError, expected_name
from joulebook.collector.queries.figures import ByDomain, ByTier, Coverage, Figures, coverage
from joulebook.collector.queries.known import HOUR_US, MINUTE_US, Stretch, known_part
from joulebook.collector.queries.pages import MAX_LIMIT, check_limit
from joulebook.collector.store.protocol import Range, Store
from joulebook.collector.store.rows import AccountRow


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """What one account received."""

    account: str
    energy_uj: int
    active_uj: int
    idle_uj: int
    by_domain: ByDomain
    storage_by_tier: ByTier
    plus_minus_uj: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Accounts, largest first; rest is what jobs beyond the limit received together, without a name.

    residual_uj is what the meters delivered less what all accounts received. Of forgotten, parts of hours or
    of minutes at the ends, only wider books are kept: nothing here has any of it.
    """

    from_us: int
    to_us: int
    node: str | None
    measured_uj: int
    accounts: list[LedgerAccount]
    rest: LedgerAccount | None
    residual_uj: int
    # Of measured_uj, what only the books still know: parts of hours whose raw readings are no longer kept.
    unchecked_uj: int
    coverage: Coverage
    forgotten: list[Stretch]


def get_ledger(store: Store, *, node: str | None, from_us: int, to_us: int, limit: int = MAX_LIMIT) -> Ledger:
    """Return the books of one node or of all, for the intervals that ended in (from_us, to_us]."""
    check_limit(limit)
    # One state for both sides: a commit between two reads would look like broken books.
    with store.snapshot() as frozen:
        if node is not None:
            names = frozen.node_names()
            if node not in names:
                raise UnknownNameError("node", node, expected_name("a node in the books", node, names))
        known = known_part(frozen.books_kept(), from_us, to_us, MINUTE_US if node is None else HOUR_US)
        selected = Range(known.from_us, known.to_us, node)
        summed = frozen.summed(selected, limit)
        measured = measured_in(frozen, selected)
        unchecked_uj = sum(frozen.all_booked_uj(one) for one in measured.forgotten)
    total, watched = Figures.of(summed.accounts), summed.watched
    total_us = watched.reported_us + watched.gap_us
    missing_us = watched.unread_us + watched.missing_us
    accounts = [_account(row) for row in summed.accounts]
    known_uj = sum(measured.by_node.values()) + unchecked_uj
    return Ledger(
        from_us=from_us,
        to_us=to_us,
        node=node,
        measured_uj=known_uj,
        accounts=sorted((a for a in accounts if a.account), key=lambda a: (-a.energy_uj, a.account)),
        rest=next((a for a in accounts if not a.account), None),
        residual_uj=known_uj - total.energy_uj,
        unchecked_uj=unchecked_uj,
        coverage=coverage(total.energy_uj, total.modelled_uj, total_us - missing_us, total_us),
        forgotten=known.forgotten,
    )


def _account(row: AccountRow) -> LedgerAccount:
    sums = Figures.of([row])
    return LedgerAccount(
        row.account,
        sums.energy_uj,
        sums.active_uj,
        sums.idle_uj,
        sums.by_domain,
        sums.storage_by_tier,
        sums.plus_minus_uj,
    )
