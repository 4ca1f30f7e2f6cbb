"""Power by account over time: what the books say, in steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from joulebook.collector.queries.buckets import Buckets, aligned
from joulebook.collector.queries.errors import BadValueError, UnknownNameError, expected_name
from joulebook.collector.queries.known import MINUTE_US, TEN_MINUTES_US, Stretch, known_part, unit_us
from joulebook.collector.queries.pages import check_limit
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.summed import REST

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

    Accounts come largest first; rest_uj is what all jobs beyond the limit received together. Of forgotten, at
    the ends, only wider books are kept: nothing here has any of it.
    """

    from_us: int
    to_us: int
    step_us: int
    node: str | None
    times_s: list[float]
    accounts: list[AccountEnergy]
    rest_uj: list[int]
    forgotten: list[Stretch]


def get_power(
    store: Store, *, node: str | None, from_us: int, to_us: int, step_us: int | None, limit: int
) -> Power:
    """Return where the energy of (from_us, to_us] went, of one node or of all.

    What was booked for an interval is spread evenly over its time, in whole µJ: steps add up to it exactly.
    Raises BadValueError for a step that is finer than what is kept of the books.
    """
    check_limit(limit)
    with store.snapshot() as frozen:
        if node is not None:
            names = frozen.node_names()
            if node not in names:
                raise UnknownNameError("node", node, expected_name("a node in the books", node, names))
        kept, fine_us = frozen.books_kept(), MINUTE_US if node is None else TEN_MINUTES_US
        buckets = _buckets(kept, from_us, to_us, step_us, fine_us)
        known = known_part(kept, from_us, to_us, fine_us)
        times_us = (known.from_us, known.to_us, buckets.step_us)
        rows = frozen.energy_over_time(*times_us, node, buckets.origin_us, limit)
    by_account: dict[str, list[int]] = defaultdict(lambda: [0] * buckets.count)
    for account, bucket, energy_uj in rows:
        by_account[account][bucket] += energy_uj
    rest_uj = by_account.pop(REST, [0] * buckets.count)
    ordered = sorted(by_account.items(), key=lambda item: (-sum(item[1]), item[0]))
    return Power(
        from_us=from_us,
        to_us=to_us,
        step_us=buckets.step_us,
        node=node,
        times_s=buckets.ends_s,
        accounts=[AccountEnergy(account, each_uj) for account, each_uj in ordered],
        rest_uj=rest_uj,
        forgotten=known.forgotten,
    )


def _buckets(kept: BooksKept, from_us: int, to_us: int, step_us: int | None, fine_us: int) -> Buckets:
    """Cut a range by multiples of what the books are known by at its beginning, which is the least."""
    least_us = unit_us(kept, from_us, fine_us)
    if step_us is not None and step_us % least_us:
        raise BadValueError(
            "step",
            f"{step_us / 1e6:g}s",
            f"multiples of {least_us // MINUTE_US}m, the finest that is kept before {rfc3339(kept.rows_us)}; "
            "or a range that begins then or later",
        )
    return aligned(from_us, to_us, step_us, suiting=_SUITING_BUCKETS, multiple_us=least_us)
