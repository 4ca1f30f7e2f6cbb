"""Energy by account and step from ledger rows: what an interval was booked, spread evenly over its time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from joulebook.collector.ingest.decode import MAX_INTERVAL_US
from joulebook.collector.store.protocol import Range
from joulebook.collector.store.summed import REST

# (account, energy µJ, start and end of its interval)
Booked = tuple[str, int, int, int]


def around(from_us: int, to_us: int, node: str | None) -> Range:
    """Return the range in which every interval ends that may touch (from_us, to_us]."""
    return Range(from_us, to_us + MAX_INTERVAL_US, node)


def spread(
    booked: Iterable[Booked], from_us: int, to_us: int, step_us: int, origin_us: int | None = None
) -> list[tuple[str, int, int]]:
    """Spread energy evenly over the time of its interval; return (account, step, µJ), none that is 0.

    Up to a moment it is rounded down to whole µJ, so what lies between moments adds up to the whole.
    """
    origin_us = from_us if origin_us is None else origin_us
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for account, energy_uj, began_us, ended_us in booked:
        at_us, until_us = max(began_us, from_us), min(ended_us, to_us)
        if not energy_uj or at_us >= until_us:
            continue
        length_us = ended_us - began_us
        while at_us < until_us:
            step = (at_us - origin_us) // step_us
            next_us = min(origin_us + (step + 1) * step_us, until_us)
            upto = energy_uj * (next_us - began_us) // length_us
            sums[account, step] += upto - energy_uj * (at_us - began_us) // length_us
            at_us = next_us
    return [(account, step, uj) for (account, step), uj in sums.items() if uj]


def limited(rows: list[tuple[str, int, int]], most_jobs: int | None) -> list[tuple[str, int, int]]:
    """Sum jobs beyond the largest in an account without a name; None: there are never too many."""
    total_uj: dict[str, int] = defaultdict(int)
    for account, _, uj in rows:
        if account.startswith("job:"):
            total_uj[account] += uj
    if most_jobs is None or len(total_uj) <= most_jobs:
        return rows
    beyond = {*sorted(total_uj, key=lambda account: (-total_uj[account], account))[most_jobs:]}
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for account, step, uj in rows:
        sums[REST if account in beyond else account, step] += uj
    return [(account, step, uj) for (account, step), uj in sums.items()]
