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
        order = np.argsort(-remainder, axis=1, kind="stable")
        unit = (np.arange(weight.shape[1])[None, :, None] < left[:, None, :]).astype(np.int64)
        extra = np.zeros_like(shares)
        np.put_along_axis(extra, order, unit, axis=1)
        shares += extra
    orphan = np.where(total == 0, amount, 0)
    if orphan.any():
        shares[np.arange(len(fallback)), fallback, :] += orphan
    return shares
