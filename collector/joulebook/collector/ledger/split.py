"""Exact integer splits by largest remainder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

# Σ weights below 2^31 keeps remainder × weight inside 63 bits.
_WEIGHT_BITS = 31


def split(amount: Ints, weight: Ints, fallback: Ints) -> Ints:
    """Split amounts by weights so that every share is whole, none is negative, and they add up exactly.

    amount is (n, t) and not negative; weight is (n, a, t) and not negative; the shares are (n, a, t).
    Units left over by rounding down go to the largest remainders, ties to the lower place. Where all weights
    are 0 the whole amount goes to the place in fallback (n).

    Weights whose sum passes 2^31 (bytes of memory) lose their lowest bits: each place's share may then be off
    by one part in 2^30 for each place there is. The sum stays exact.
    """
    # A disk or a GPU is of few, and may rest: only those with weight receive anything, where there is any.
    used = np.asarray(weight.any(axis=2))
    count = used.sum(axis=1)
    is_few, some = 2 * count < weight.shape[1], amount.any(axis=1)
    if some.all() and not is_few.any():
        return _split_all(amount, weight, fallback)
    shares = np.zeros_like(weight)
    few, many = np.flatnonzero(some & is_few), np.flatnonzero(some & ~is_few)
    if len(many):
        shares[many] = _split_all(amount[many], weight[many], fallback[many])
    if not len(few):
        return shares
    # Those with weight first, in their order.
    place = np.argsort(~used[few], axis=1, kind="stable")[:, : max(int(count[few].max()), 1)]
    own = weight[few[:, None], place]
    shares[few[:, None], place] = _split_all(amount[few], own, None)
    orphan = np.where(own.any(axis=1), 0, amount[few])
    shares[few, fallback[few]] += orphan
    return shares


def _split_all(amount: Ints, weight: Ints, fallback: Ints | None) -> Ints:
    """Split among all places; without a fallback nothing is split where all weights are 0."""
    total = weight.sum(axis=1)
    bits = np.ceil(np.log2(np.maximum(total, 1).astype(np.float64) + 1.0)).astype(np.int64)
    shift = np.maximum(bits - _WEIGHT_BITS, 0)
    if shift.any():
        weight = weight >> shift[:, None, :]
        total = weight.sum(axis=1)
    divisor = np.maximum(total, 1)
    whole, part = np.divmod(amount, divisor)
    scaled = part[:, None, :] * weight
    shares, remainder = np.divmod(scaled, divisor[:, None, :])
    shares += whole[:, None, :] * weight
    # Less than one unit a place is left over.
    left = np.where(total > 0, amount - shares.sum(axis=1), 0)
    if left.any():
        shares += _largest(remainder, left)
    if fallback is not None and (orphan := np.where(total == 0, amount, 0)).any():
        shares[np.arange(len(fallback)), fallback, :] += orphan
    return shares


def _largest(remainder: Ints, left: Ints) -> npt.NDArray[np.bool_]:
    """Return which places (n, a, t) have the largest remainders, as many as left (n, t), lower ones first.

    Remainders are below 2^31, so each with its place makes one number that no other place has.
    """
    places = remainder.shape[1]
    bits = (places - 1).bit_length()
    key = (remainder << bits) + np.arange(places - 1, -1, -1)[None, :, None]
    ranked = np.sort(np.ascontiguousarray(key.swapaxes(1, 2)), axis=2)
    # Where nothing is left, no key is as large.
    least = np.take_along_axis(ranked, np.minimum(places - left, places - 1)[:, :, None], axis=2)[:, :, 0]
    return np.asarray(key >= np.where(left > 0, least, np.iinfo(np.int64).max)[:, None, :])
