"""Power by account over time: what the books say, in steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from joulebook.collector.queries.buckets import aligned
from joulebook.collector.queries.errors import UnknownNameError, expected_name
from joulebook.collector.queries.pages import check_limit
from joulebook.collector.store.protocol import Store

_SUITING_BUCKETS = 180


@dataclass(frozen=True, slots=True)
class AccountEnergy:
    """What one account received, one value a bucket."""

    account: str
    energy_uj: list[int]


@dataclass(frozen=True, slots=True)
class Power:
    """Energy by account and bucket; over a bucket's length it is power. times_s are the buckets' ends.

    Buckets lie at multiples of the step; the first and the last reach no further than the range.

    Accounts come largest first; rest_uj is what all jobs beyond the limit received together.
    """

    from_us: int
    to_us: int
    step_us: int
    node: str | None
    times_s: list[float]
    accounts: list[AccountEnergy]
    rest_uj: list[int]


def get_power(
    store: Store, *, node: str | None, from_us: int, to_us: int, step_us: int | None, limit: int
) -> Power:
    """Return where the energy of (from_us, to_us] went, of one node or of all.

    What was booked for an interval is spread evenly over its time, in whole µJ: steps add up to it exactly.
    """
    check_limit(limit)
    buckets = aligned(from_us, to_us, step_us, suiting=_SUITING_BUCKETS)
    with store.snapshot() as frozen:
        if node is not None:
            known = frozen.node_names()
            if node not in known:
                raise UnknownNameError("node", node, expected_name("a node in the books", node, known))
        rows = frozen.energy_over_time(from_us, to_us, buckets.step_us, node, buckets.origin_us)
    total_uj: dict[str, int] = defaultdict(int)
    for account, _, energy_uj in rows:
        total_uj[account] += energy_uj
    ordered = sorted(total_uj, key=lambda account: (-total_uj[account], account))
    unnamed = {account for account in ordered if account.startswith("job:")}
    unnamed.difference_update([account for account in ordered if account in unnamed][:limit])
    rest_uj = [0] * buckets.count
    by_account = {account: [0] * buckets.count for account in ordered if account not in unnamed}
    for account, bucket, energy_uj in rows:
        by_account.get(account, rest_uj)[bucket] += energy_uj
    return Power(
        from_us=from_us,
        to_us=to_us,
        step_us=buckets.step_us,
        node=node,
        times_s=buckets.ends_s,
        accounts=[AccountEnergy(account, each_uj) for account, each_uj in by_account.items()],
        rest_uj=rest_uj,
    )
