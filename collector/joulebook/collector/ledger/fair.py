"""The fair split of what a part of a machine draws: Aumann–Shapley over simultaneous use.

With uses c_j of intensities w_j, S = Σ c_j and w̄ = Σ w_j c_j / S it draws w̄ g(S) beyond idle.
All come in together, from nothing to what they are, and each pays for its own growth:
c_j (w_j Φ(S) + w̄ (φ(S) − Φ(S))), which adds up. docs/attribution.md has the proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.curve import Curve

Floats = npt.NDArray[np.floating[Any]]


def fair_w(curve: Curve, most: float, slopes: Floats, use: Floats, intensity: Floats) -> Floats:
    """Return what each account causes, W; use and intensities are (accounts, n), so is the result.

    Never negative: far below the mean, an intensity that only the discount of the others would pay is free.
    """
    within = np.minimum(use.sum(axis=0), most)
    alone_w, shared = (of(within, most) @ slopes for of in (curve.power_factors, curve.shared_factors))
    return split_w(alone_w, shared, use, intensity)


def beyond_idle_w(
    curve: Curve, most: float, slopes: Floats, use: Floats, always: Floats, intensity: Floats
) -> tuple[Floats, Floats]:
    """Return what each account causes beyond what it always does, and what of that is in the idle floor, W.

    always is each account's use of the idle machine (accounts), in use too; the second result is (n).
    """
    within = np.minimum(use.sum(axis=0), most)
    alone_w, shared = (of(within, most) @ slopes for of in (curve.power_factors, curve.shared_factors))
    in_floor = curve.power_factors(always.sum(keepdims=True), most)[0]
    return parts_w(alone_w, shared, float(in_floor @ slopes), use, always, intensity)


def parts_w(
    power_w: Floats, shared: Floats, in_floor_w: float, use: Floats, always: Floats, intensity: Floats
) -> tuple[Floats, Floats]:
    """Return the same, given g and Φ at each total use (n), and what all that is always there draws alone.

    Alone it draws more than its part is beside others: by as much the floor has what others cause.
    """
    caused = split_w(power_w, shared, use, intensity)
    beyond = np.maximum(use - always[:, None], 0.0) / np.maximum(use, 1e-9)
    own = caused * beyond
    moved: Floats = np.maximum(in_floor_w - (caused - own).sum(axis=0), 0.0)
    return own, moved


def split_w(power_w: Floats, shared: Floats, use: Floats, intensity: Floats) -> Floats:
    """Return what each of all causes, given g and Φ at each total use (n)."""
    some = np.maximum(use.sum(axis=0), 1e-9)
    alone = power_w / some
    mean = (use * intensity).sum(axis=0) / some
    caused: Floats = np.maximum(use * (intensity * shared + mean * (alone - shared)), 0.0)
    return caused
