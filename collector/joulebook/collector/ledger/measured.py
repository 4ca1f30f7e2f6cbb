"""What a node's meters delivered, read off raw readings: the check's side of the books."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import root_energy_uj
from joulebook.collector.ledger.layout import NodeLayout

Ints = npt.NDArray[np.int64]


def drawn_uj(layout: NodeLayout, energy_uj: Ints) -> Ints:
    """Return what a node drew in each of its Reports; energy_uj is (reports, domains, ticks)."""
    booked = energy_uj[:, layout.domain_booked]
    if not layout.has_containers:
        return np.asarray(booked.sum(axis=(1, 2)))
    names = [n for n, b in zip(layout.domain_names, layout.domain_booked, strict=True) if b]
    # The tree is settled in every tick apart: (domains, reports × ticks).
    flat = booked.transpose(1, 0, 2).reshape(len(names), -1)
    return np.asarray(root_energy_uj(flat, names).reshape(len(booked), -1).sum(axis=1))
