"""The figures of a row of the ledger, in the order in which stores keep and tell them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.domains import CLASSES, TIERS

Ints = npt.NDArray[np.int64]

# What makes up the whole: by class, what was caused, then idle floors.
ENERGIES = [f"{name}_active_uj" for name in CLASSES] + [f"{name}_idle_uj" for name in CLASSES]
# Of these, what disks of each tier had, then what is modelled.
TIER_ENERGIES = [f"{name}_uj" for name in TIERS]
FIGURES = [*ENERGIES, *TIER_ENERGIES, "modelled_uj", "systematic_uj", "variance_uj2"]


def table_of(books: Books) -> Ints:
    """Return the figures of all rows: (rows, FIGURES)."""
    sure = np.stack([books.modelled_uj, books.systematic_uj, books.variance_uj2], axis=1)
    return np.hstack([books.active_uj, books.idle_uj, books.tier_uj, sure])
