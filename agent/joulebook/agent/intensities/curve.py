"""What a CPU package draws for so many busy threads, beyond its idle power.

g(S) = e^level half (E(S)/half)^power, where E(S) counts threads up to one a core (half of all) in full and
those beyond by a part, e^second. φ(S) = g(S)/S, Φ(S) = ∫₀¹ φ(tS) dt; docs/attribution.md says what for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Places of the unknowns in a state.
LEVEL, POWER, SECOND = range(3)

_LEAST = 1e-3
_SIMPSON = ((0.0, 1.0), (0.25, 4.0), (0.5, 2.0), (0.75, 4.0), (1.0, 1.0))


def draws_w(state: Sequence[float], threads: float, half: float) -> tuple[float, float, float]:
    """Return g, W, and how it grows with the power and the second thread's part; with the level by itself."""
    one = min(max(threads, _LEAST), 2 * half)
    beyond = math.exp(state[SECOND]) * max(one - half, 0.0)
    counted = min(one, half) + beyond
    log = math.log(counted / half)
    power_w = math.exp(state[LEVEL] + state[POWER] * log) * half
    return power_w, power_w * log, power_w * state[POWER] * beyond / counted


def following(state: Sequence[float], threads: float, half: float) -> float:
    """Return φ/Φ: what a thread draws among so many, as a part of its mean while all come in."""
    one = min(threads, 2 * half)
    if one <= half:
        return min(state[POWER], 1.0)
    # ∫ g/s ds, in closed form up to half and by Simpson's rule beyond.
    step = (one - half) / 12
    total = draws_w(state, half, half)[0] / state[POWER]
    for part, factor in _SIMPSON:
        at = half + part * (one - half)
        total += step * factor * draws_w(state, at, half)[0] / at
    return min(draws_w(state, one, half)[0] / total, 1.0)
