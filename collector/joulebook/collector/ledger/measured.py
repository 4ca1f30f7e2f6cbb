"""What a node's meters delivered, read off raw readings: the check's side of the books."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import root_energy_uj
from joulebook.collector.ledger.layout import NodeLayout

Ints = npt.NDArray[np.int64]


def drawn_uj(layout: NodeLayout, energy_uj: Ints) -> Ints:
    """Return what a node drew in each tick; energy_uj is (domains, ticks), of any Reports side by side."""
    booked = energy_uj[layout.domain_booked]
    if not layout.has_containers:
        return np.asarray(booked.sum(axis=0))
    names = [n for n, b in zip(layout.domain_names, layout.domain_booked, strict=True) if b]
    return root_energy_uj(booked, names)
