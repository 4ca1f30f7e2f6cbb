"""Settlement: split a node's stored Reports once more, by all that they tell together.

Pure: the same Reports of a stretch of a node's time give the same books, whatever came before or after. Every
Report's total, and every class of it, stays as it was: only who caused a CPU package's active energy is
learnt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books, Causes, book
from joulebook.collector.ledger.intensity import Learnt, PackageRun, learn
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.pools import groups_of, pools_of
from joulebook.collector.ledger.stack import Readings

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Weights are what was caused, in µW: a package's sum stays below 2^31.
_WEIGHTS_A_WATT = 1_000_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Report's CPU pool: its place among the Report's, energy in µJ (ticks), CPU µs (accounts, ticks)."""

    report: int
    pool: int
    active_uj: Ints
    cpu_us: Ints


def settled_books(readings: Sequence[Readings], policy: Policy = Policy.RESERVED) -> Books:
    """Book a node's Reports, in order of time, with what they tell together of each job's intensity."""
    return book(readings, policy, causes_of(readings))


def causes_of(readings: Sequence[Readings]) -> list[Causes | None]:
    """Learn who caused the active energy of a node's packages; None for Reports without any."""
    by_package: dict[tuple[tuple[str, ...], int], list[_Seen]] = defaultdict(list)
    counts = [0] * len(readings)
    for one, key in _seen(readings):
        by_package[key].append(one)
        counts[one.report] += 1
    causes = [_empty(r, count) if count else None for r, count in zip(readings, counts, strict=True)]
    for (_, threads), seen in by_package.items():
        ordered = sorted(seen, key=lambda one: one.report)
        _put(causes, ordered, readings, threads)
    return causes


def _empty(r: Readings, pools: int) -> Causes:
    shape = (pools, len(r.layout.accounts), len(r.interval_us))
    return Causes(np.zeros(shape, dtype=np.int64), np.zeros(shape[:2]))


def _seen(readings: Sequence[Readings]) -> list[tuple[_Seen, tuple[tuple[str, ...], int]]]:
    """Return every CPU pool of every Report, and which package or packages of how many threads it is."""
    found = []
    for group in groups_of(readings):
        pools = pools_of([readings[i] for i in group])
        reports = pools.report[pools.packages.pools]
        first = np.searchsorted(reports, reports)
        for place, (report, pool) in enumerate(
            zip(reports.tolist(), pools.packages.pools.tolist(), strict=True)
        ):
            layout = readings[group[report]].layout
            of_pool = layout.domain_pool == pool - int(np.searchsorted(pools.report, report))
            names = tuple(n for n, here in zip(layout.domain_names, of_pool.tolist(), strict=True) if here)
            packages = max(int((layout.pool_class == pools.class_[pool]).sum()), 1)
            one = _Seen(
                group[report],
                place - int(first[place]),
                pools.active[pool],
                pools.packages.cpu_us[place, : len(layout.accounts)],
            )
            found.append((one, (names, max(layout.logical_cpus // packages, 1))))
    return found


def _put(causes: list[Causes | None], seen: list[_Seen], readings: Sequence[Readings], threads: int) -> None:
    """Learn from all ticks of a package, and write each Report's part of it."""
    accounts = sorted({a for one in seen for a in readings[one.report].layout.accounts})
    place = {account: i for i, account in enumerate(accounts)}
    ends = np.cumsum([0, *(len(one.active_uj) for one in seen)])
    interval_us = np.concatenate([readings[one.report].interval_us for one in seen])
    cpu_us = np.zeros((len(accounts), int(ends[-1])))
    rows = [[place[a] for a in readings[one.report].layout.accounts] for one in seen]
    for one, row, begin, end in zip(seen, rows, ends[:-1], ends[1:], strict=True):
        cpu_us[row, begin:end] = one.cpu_us
    learnt: Learnt = learn(
        PackageRun(
            threads=threads,
            interval_s=interval_us / 1e6,
            active_w=np.concatenate([one.active_uj for one in seen]) / interval_us,
            busy=cpu_us / interval_us,
            may_vary=np.array([a not in FIXED_ACCOUNTS for a in accounts]),
        )
    )
    weight = np.rint(learnt.caused_w * _WEIGHTS_A_WATT).astype(np.int64)
    for one, row, begin, end in zip(seen, rows, ends[:-1], ends[1:], strict=True):
        cause = causes[one.report]
        assert cause is not None
        cause.weight[one.pool] = weight[row, begin:end]
        cause.error[one.pool] = learnt.error[row]
