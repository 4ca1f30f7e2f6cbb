"""Settlement: split a node's stored Reports once more, by all that they tell together.

Pure: the same Reports of a stretch of a node's time give the same books, whatever came before or after. Every
Report's total, and every class of it, stays as it was: only who caused the active energy of CPU packages,
memory and shared GPUs is learnt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.causes import Causes
from joulebook.collector.ledger.course import Course
from joulebook.collector.ledger.curve import STRAIGHT, THREADS
from joulebook.collector.ledger.domains import CPU, GPU, MEMORY
from joulebook.collector.ledger.gpus import gpu_active_weights
from joulebook.collector.ledger.holes import Start, with_holes
from joulebook.collector.ledger.intensity import learn
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.pools import Pools, groups_of, pools_of
from joulebook.collector.ledger.presence import presence_of
from joulebook.collector.ledger.shares import static_weights
from joulebook.collector.ledger.stack import Readings

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Weights are what was caused, in µW: a part's sum stays below 2^31.
_WEIGHTS_A_WATT = 1_000_000
_GIB = 2**30
_WHOLE_PPM = 1_000_000
# Drivers tell the use of GPUs in whole per cent.
_TOLD_IN = 0.01
# How far apart jobs' intensities are, and those of a job's phases. GiB held tell little of memory's power.
_AMONG_JOBS, _AMONG_PHASES = {CPU: 0.4, MEMORY: 0.8, GPU: 0.4}, {CPU: 0.1, MEMORY: 0.6, GPU: 0.1}
# How far off, beside others, is what a job does that no phase shows.
_UNSEEN = {CPU: 0.02, MEMORY: 0.12, GPU: 0.0}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Report's pool: its place among the Report's, energy in µJ (ticks), what its weights count.

    use, told, cpu_us and held, the weights of idle floors, are (accounts, ticks). told is what a GPU's driver
    says of processes; of other pools it is use.
    """

    report: int
    pool: int
    beyond_uj: Ints
    use: Ints
    told: Ints
    cpu_us: Ints
    held: Ints


@dataclass(frozen=True, slots=True)
class _Part:
    """What Reports' pools are of: its class, the domains in it, and the most use there can be."""

    class_: int
    domains: tuple[str, ...]
    most: float


def settled_books(
    readings: Sequence[Readings], starts: Sequence[Start], policy: Policy = Policy.RESERVED
) -> Books:
    """Book a node's Reports, in order of time, with what they tell together of each job's intensity.

    starts say of each Report when it began: what was drawn where Reports do not meet is in the ± of jobs.
    Where no job was there is nothing to learn.
    """
    if not any(one.layout.jobs for one in readings):
        return book(readings, policy)
    return with_holes(book(readings, policy, causes_of(readings, policy)), readings, starts)


def causes_of(readings: Sequence[Readings], policy: Policy = Policy.RESERVED) -> list[Causes | None]:
    """Learn who caused the active energy of a node's packages, memory and shared GPUs; None: no such part."""
    grouped = [(group, pools_of([[readings[i]] for i in group])) for group in groups_of(readings)]
    by_part: dict[_Part, list[_Seen]] = defaultdict(list)
    for group, pools in grouped:
        for part, one in _seen(group, pools, readings, policy):
            by_part[part].append(one)
    # Whoever has a GPU to himself caused all of it.
    by_part = {p: s for p, s in by_part.items() if p.class_ != GPU or any(map(_is_shared, s))}
    own: list[list[int]] = [[] for _ in readings]
    for one in (one for seen in by_part.values() for one in seen):
        own[one.report].append(one.pool)
    causes = [_empty(r, sorted(places)) if places else None for r, places in zip(readings, own, strict=True)]
    for part, seen in by_part.items():
        _put(causes, part, sorted(seen, key=lambda one: one.report), readings)
    if policy is Policy.RESERVED and len({r.layout.accounts for r in readings}) > 1:
        _put_presence(causes, grouped, readings)
    return causes


def _empty(r: Readings, pools: list[int]) -> Causes:
    shape = (len(pools), len(r.layout.accounts), len(r.interval_us))
    return Causes(
        pools=np.array(pools, dtype=np.int64),
        weight=np.zeros(shape, dtype=np.int64),
        moved_uj=np.zeros((shape[0], shape[2]), dtype=np.int64),
        error=np.zeros(shape[:2]),
        part=np.ones(shape[1:]),
        part_error=np.zeros(shape[1:]),
    )


def _seen(
    group: list[int], pools: Pools, readings: Sequence[Readings], policy: Policy
) -> Iterator[tuple[_Part, _Seen]]:
    """Give every pool of a group's Reports that can be learnt of."""
    first = np.searchsorted(pools.report, np.arange(len(group)))
    held = static_weights(pools.use, pools.packages, pools.gpus, policy, pools.class_, pools.report)
    package = {pool: place for place, pool in enumerate(pools.packages.pools.tolist())}
    gpu = {pool: place for place, pool in enumerate(pools.gpus.pools.tolist())}
    gpu_use = gpu_active_weights(pools.gpus)
    beyond_uj = pools.beyond_uj()
    for pool, (report, class_) in enumerate(zip(pools.report.tolist(), pools.class_.tolist(), strict=True)):
        if class_ not in _AMONG_JOBS:
            continue
        layout = readings[group[report]].layout
        count, place = len(layout.accounts), pool - int(first[report])
        of_pool = (layout.domain_pool == place).tolist()
        names = tuple(n for n, here in zip(layout.domain_names, of_pool, strict=True) if here)
        cpu_us = pools.use.cpu_us[report, :count]
        if class_ == CPU:
            packages = max(int((layout.pool_class == CPU).sum()), 1)
            part = _Part(CPU, names, max(layout.logical_cpus // packages, 1))
            cpu_us = use = pools.packages.cpu_us[package[pool], :count]
        elif class_ == GPU:
            part = _Part(GPU, names, 1.0)
            use = gpu_use[gpu[pool], :count]
        else:
            part = _Part(MEMORY, names, max(layout.memory_bytes, 1) / _GIB)
            use = pools.use.memory_bytes[report, :count]
        told = pools.gpus.used[gpu[pool], :count] if class_ == GPU else use
        yield part, _Seen(group[report], place, beyond_uj[pool], use, told, cpu_us, held[pool, :count])


def _is_shared(one: _Seen) -> bool:
    """Say whether several accounts used a pool at once."""
    return bool(((one.use > 0).sum(axis=0) > 1).any())


def _put_presence(
    causes: list[Causes | None],
    grouped: list[tuple[list[int], Pools]],
    readings: Sequence[Readings],
) -> None:
    """Write for how much of each tick each job was there, where it was not there in all of them."""
    jobs = sorted({a for r in readings for a in r.layout.accounts[len(FIXED_ACCOUNTS) :]})
    place = {account: i for i, account in enumerate(jobs)}
    ends = np.cumsum([0, *(len(r.interval_us) for r in readings)])
    known = np.zeros((len(jobs), int(ends[-1])), dtype=bool)
    used_us, held_us = np.zeros((2, *known.shape))
    rows = [[place[a] for a in r.layout.accounts[len(FIXED_ACCOUNTS) :]] for r in readings]
    for group, pools in grouped:
        for i, report in enumerate(group):
            row, ticks = rows[report], slice(*ends[report : report + 2].tolist())
            of = slice(len(FIXED_ACCOUNTS), len(FIXED_ACCOUNTS) + len(row))
            known[row, ticks] = True
            used_us[row, ticks], held_us[row, ticks] = pools.use.cpu_us[i, of], pools.use.cpu_held_us[i, of]
    interval_us = np.concatenate([r.interval_us for r in readings])
    presence = presence_of(interval_us, known, used_us / interval_us, held_us / interval_us)
    for number, cause in enumerate(causes):
        ticks = slice(*ends[number : number + 2].tolist())
        part = presence.part[rows[number], ticks]
        if cause is not None and (part < 1).any():
            cause.part[len(FIXED_ACCOUNTS) :] = part
            cause.part_error[len(FIXED_ACCOUNTS) :] = presence.deviation[rows[number], ticks]


def _put(causes: list[Causes | None], part: _Part, seen: list[_Seen], readings: Sequence[Readings]) -> None:
    """Learn from all ticks of a part, and write each Report's of them."""
    accounts = sorted({a for one in seen for a in readings[one.report].layout.accounts})
    place = {account: i for i, account in enumerate(accounts)}
    ends = np.cumsum([0, *(len(one.beyond_uj) for one in seen)])
    interval_us = np.concatenate([readings[one.report].interval_us for one in seen])
    # Where a driver tells of a GPU's processes at all, what it does not tell is no use of it.
    is_told = any(one.told.any() for one in seen)
    used, cpu_us, held = np.zeros((3, len(accounts), int(ends[-1])))
    rows = [[place[a] for a in readings[one.report].layout.accounts] for one in seen]
    for one, row, begin, end in zip(seen, rows, ends[:-1], ends[1:], strict=True):
        used[row, begin:end] = one.told if is_told else one.use
        cpu_us[row, begin:end] = one.cpu_us
        held[row, begin:end] = one.held
    busy = cpu_us / interval_us
    used = {CPU: busy, MEMORY: used / _GIB, GPU: used / _WHOLE_PPM}[part.class_]
    learnt = learn(
        Course(
            curve=THREADS if part.class_ == CPU else STRAIGHT,
            most=part.most,
            use_step=_TOLD_IN if part.class_ == GPU and is_told else 0.0,
            among_jobs=_AMONG_JOBS[part.class_],
            among_phases=_AMONG_PHASES[part.class_],
            by_factors=part.class_ == CPU,
            changes_show=part.class_ != GPU,
            unseen=_UNSEEN[part.class_],
            interval_s=interval_us / 1e6,
            active_w=np.concatenate([one.beyond_uj for one in seen]) / interval_us,
            use=used,
            busy=used if part.class_ == GPU else busy,
            held=held / np.maximum(held.sum(axis=0), 1),
            may_vary=np.array([a not in FIXED_ACCOUNTS for a in accounts]),
        )
    )
    # What lies at a half is rounded alike, whatever its last bits are.
    weight = np.rint(np.round(learnt.caused_w * _WEIGHTS_A_WATT, 3)).astype(np.int64)
    moved_uj = np.rint(np.round(learnt.moved_w * interval_us, 3)).astype(np.int64)
    for one, row, begin, end in zip(seen, rows, ends[:-1], ends[1:], strict=True):
        cause = causes[one.report]
        assert cause is not None
        own = int(np.searchsorted(cause.pools, one.pool))
        caused = weight[row, begin:end]
        # Of whom nothing is told then, as live.
        cause.weight[own] = np.where(caused.any(axis=0), caused, one.use)
        cause.moved_uj[own] = moved_uj[begin:end]
        cause.error[own] = learnt.error[row]
