"""What a part of a machine did over a stretch of time, to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.curve import Curve

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Course:
    """A part's ticks: what it drew beyond idle, W (ticks), and use by account, (accounts, ticks).

    most is the most use there can be; use is told in steps of use_step, 0: exactly. Phases are told by CPU
    time, busy (accounts, ticks). held is the part of the idle floor that each account pays (accounts, ticks).
    may_vary says which accounts are jobs. Intensities are about 1: how far apart those of jobs are, and of a
    job's phases; by_factors says of their logarithms. changes_show: where power changes though no use does, a
    phase of someone's is looked for. unseen is how far an account's energy is off, beside others', by what it
    does that nothing shows: a part of it, 1 σ.
    """

    curve: Curve
    most: float
    use_step: float
    among_jobs: float
    among_phases: float
    by_factors: bool
    changes_show: bool
    unseen: float
    interval_s: Floats
    active_w: Floats
    use: Floats
    busy: Floats
    held: Floats
    may_vary: npt.NDArray[np.bool_]
