"""Which stretches of boot clocks are taken by Reports, those that meet as one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def merged(boot: Ints, start_us: Ints, end_us: Ints) -> tuple[Ints, Ints, Ints]:
    """Join stretches of a boot's clock that meet; return boots, starts and ends, in order."""
    order = np.lexsort((start_us, boot))
    boot, start_us, end_us = boot[order], start_us[order], end_us[order]
    if not len(boot):
        return boot, start_us, end_us
    apart = (boot[1:] != boot[:-1]) | (start_us[1:] != end_us[:-1])
    first = np.concatenate([[True], apart])
    last = np.concatenate([apart, [True]])
    return boot[first], start_us[first], end_us[last]
