"""Energy spread over steps, many rows at a time: in whole µJ, exact whatever the amounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from joulebook.collector.store.duckdb.hugeint import Whole, added_by

Ints = npt.NDArray[np.int64]
# As many parts of rows are made at once.
_AT_ONCE = 1 << 20
# Below this a product of two lengths, in µs, has less than 63 bits.
_SHORT_US = 1 << 31


class Stretch(NamedTuple):
    """A stretch of time (from_us, to_us]."""

    from_us: int
    to_us: int


class Steps(NamedTuple):
    """Steps of a length, counted from a moment."""

    origin_us: int
    us: int


class Stepped(NamedTuple):
    """Energy by account and step, in columns."""

    account_id: Ints
    step: Ints
    uj: Whole


class Booked(NamedTuple):
    """Rows: what was booked to whom for an interval, and of which stretch of time is asked."""

    account_id: Ints
    uj: Whole
    began_us: Ints
    ended_us: Ints
    from_us: Ints
    to_us: Ints


def spread(rows: Booked, steps: Steps) -> Iterator[Stepped]:
    """Give what rows have in steps, each within the stretch that is asked of it; an entry a row and step.

    Up to a moment energy is rounded down to whole µJ.
    """
    at_us, until_us = np.maximum(rows.began_us, rows.from_us), np.minimum(rows.ended_us, rows.to_us)
    first = (at_us - steps.origin_us) // steps.us
    count = np.where(
        (at_us < until_us) & (rows.uj > 0), (until_us - 1 - steps.origin_us) // steps.us - first + 1, 0
    )
    # Most lie within one step.
    whole = (count == 1) & (at_us == rows.began_us) & (until_us == rows.ended_us)
    yield Stepped(rows.account_id[whole], first[whole], rows.uj[whole])
    parted = np.flatnonzero((count > 0) & ~whole)
    upto = count[parted].cumsum()
    begin = 0
    while begin < len(parted):
        done = upto[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(upto, done + _AT_ONCE)))
        own = parted[begin:end]
        row = np.repeat(own, count[own])
        step = first[row] + np.arange(len(row)) - np.repeat(upto[begin:end] - count[own] - done, count[own])
        start_us = steps.origin_us + step * steps.us
        began_us = rows.began_us[row]
        length_us = rows.ended_us[row] - began_us
        until = _upto(rows.uj[row], np.minimum(start_us + steps.us, until_us[row]) - began_us, length_us)
        before = _upto(rows.uj[row], np.maximum(start_us, at_us[row]) - began_us, length_us)
        yield Stepped(rows.account_id[row], step, until - before)
        begin = end


def _upto(uj: Whole, passed_us: Ints, length_us: Ints) -> Whole:
    """Return uj * passed // length, of what is not negative."""
    if uj.dtype == object or (len(length_us) and length_us.max() >= _SHORT_US):
        found: Whole = uj.astype(object) * passed_us // length_us
        return found
    # The product would have more than 63 bits.
    each, rest = np.divmod(uj, length_us)
    return each * passed_us + rest * passed_us // length_us


def together(parts: Sequence[Stepped]) -> Stepped:
    """Add up what is of the same account and step; what is 0 then is left out."""
    none = np.zeros(0, dtype=np.int64)
    account_id, step, uj = map(np.concatenate, zip((none, none, none), *parts, strict=True))
    if not len(uj):
        return Stepped(account_id, step, uj)
    accounts, place = places(account_id)
    first = int(step.min())
    span = int(step.max()) - first + 1
    if len(accounts) * span >= 1 << 62:
        raise OverflowError(f"{len(accounts)} accounts over {span} steps are beyond what can be numbered")
    key = place * span + (step - first)
    if len(accounts) * span <= 4 * len(uj):
        keys, sums = np.arange(len(accounts) * span), added_by(key, uj, len(accounts) * span)
    else:
        keys, group = np.unique(key, return_inverse=True)
        sums = added_by(group, uj, len(keys))
    there = np.flatnonzero(sums > 0)
    which, later = np.divmod(keys[there], span)
    return Stepped(accounts[which], first + later, sums[there])


def places(numbers: Ints) -> tuple[Ints, Ints]:
    """Return which numbers there are, small ones and none negative, and the place of each among them."""
    seen = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    seen[numbers] = True
    which = np.flatnonzero(seen)
    place = np.zeros(len(seen), dtype=np.int64)
    place[which] = np.arange(len(which))
    return which, place[numbers]
