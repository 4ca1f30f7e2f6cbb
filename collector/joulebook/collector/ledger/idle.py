"""The static part of a domain's energy: what the idle machine would have drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def static_part_uj(energy_uj: Ints, idle_power_mw: Ints, interval_us: Ints) -> Ints:
    """Return how much of each energy is idle floor; never more than the energy itself.

    All three are (domains, ticks). 1 mW for 1 µs is 1 nJ.
    """
    floor_uj: Ints = idle_power_mw * interval_us // 1000
    return np.minimum(energy_uj, floor_uj)
