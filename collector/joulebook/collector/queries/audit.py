"""The check of the books: what the meters delivered, read off the raw readings alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import root_energy_uj
from joulebook.collector.ledger.gaps import Edge, gap_between
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.protocol import RawEnergy

Ints = npt.NDArray[np.int64]


def measured_uj(readings: Iterable[RawEnergy], gaps: Iterable[tuple[Edge, Edge]]) -> int:
    """Return the energy of Reports and of the gaps between them. The ledger's rows have no part in it."""
    reported = sum(_drawn_uj(raw.layout, raw.energy_uj) for raw in readings)
    between = (gap_between(before, after) for before, after in gaps)
    return reported + sum(int(gap.by_class_uj.sum()) for gap in between if gap is not None)


def _drawn_uj(layout: NodeLayout, energy_uj: Ints) -> int:
    """Return what a node drew; energy_uj is (reports, domains, ticks)."""
    booked = energy_uj[:, layout.domain_booked]
    if not layout.has_containers:
        return int(booked.sum())
    names = [n for n, b in zip(layout.domain_names, layout.domain_booked, strict=True) if b]
    # The tree is settled in every tick apart: (domains, reports × ticks).
    return int(root_energy_uj(booked.transpose(1, 0, 2).reshape(len(names), -1), names).sum())
