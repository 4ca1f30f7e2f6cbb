"""Who caused what of a Report's energy, where it was learnt, put over what would be split without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.layout import IDLE
from joulebook.collector.ledger.pools import Pools

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Causes:
    """Who caused the active energy of some of a Report's pools, in the order of its layout's accounts.

    pools are places among the Report's. weight is (pools, accounts, ticks), error the deviation of each
    account's share as a part of it (pools, accounts). moved_uj is what of the idle floor was caused, too, or,
    below 0, what was not caused but floor (pools, ticks). part is for how much of each tick an account was
    there and so holds what it holds, part_error that part's deviation (accounts, ticks).
    """

    pools: Ints
    weight: Ints
    moved_uj: Ints
    error: Floats
    part: Floats
    part_error: Floats


def put_causes(weight: Ints, pools: Pools, causes: Sequence[Causes | None]) -> Floats | None:
    """Put what was learnt over the weights; return each share's split error, NaN: not learnt, None: none."""
    by_agent = pools.packages.error
    if by_agent is None and not any(causes):
        return None
    pieces = pools.stack.pieces
    error = np.full((len(pools.class_), pools.accounts, pieces), np.nan)
    if by_agent is not None:
        error[pools.packages.pools] = by_agent
    first = np.searchsorted(pools.report, np.arange(len(pools.stack.layouts)))
    for number, cause in enumerate(causes):
        if cause is not None:
            side, piece = divmod(number, pieces)
            of = first[side] + cause.pools
            _, count, ticks = cause.weight.shape
            own = slice(piece * ticks, (piece + 1) * ticks)
            weight[of, :, own] = 0
            weight[of, :count, own] = cause.weight
            error[of, :, piece] = np.nan
            error[of, :count, piece] = cause.error
    return error


def moved_uj(pools: Pools, causes: Sequence[Causes | None]) -> Ints | None:
    """Return what of each pool's idle floor was caused and is active, (pools, ticks); None: nothing."""
    if not any(causes):
        return None
    moved = np.zeros_like(pools.static)
    first = np.searchsorted(pools.report, np.arange(len(pools.stack.layouts)))
    for number, cause in enumerate(causes):
        if cause is not None:
            side, piece = divmod(number, pools.stack.pieces)
            ticks = cause.moved_uj.shape[1]
            moved[first[side] + cause.pools, piece * ticks : (piece + 1) * ticks] = cause.moved_uj
    return np.clip(moved, -pools.active, pools.static)


def put_presence(held: Ints, pools: Pools, causes: Sequence[Causes | None]) -> Floats | None:
    """Give to idle what was held by who was not there; return the rest's deviation as a part, None: no one.

    held is (pools, accounts, ticks), and so is what is returned.
    """
    pieces = pools.stack.pieces
    error = None
    ends = np.searchsorted(pools.report, np.arange(len(pools.stack.layouts) + 1))
    for number, cause in enumerate(causes):
        if cause is None or not (cause.part < 1).any():
            continue
        side, piece = divmod(number, pieces)
        count, ticks = cause.part.shape
        own = slice(piece * ticks, (piece + 1) * ticks)
        of = slice(int(ends[side]), int(ends[side + 1]))
        away = held[of, :count, own] - np.rint(held[of, :count, own] * cause.part).astype(np.int64)
        held[of, :count, own] -= away
        held[of, IDLE, own] += away.sum(axis=1)
        error = np.zeros(held.shape) if error is None else error
        error[of, :count, own] = cause.part_error / np.maximum(cause.part, 1e-3)
    return error
