"""What of every account's share is modelled, and how far off it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.stack import Stack
from joulebook.collector.ledger.uncertainty import step_variance_uj2, systematic_uj, variance_uj2

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


def errors_of(
    stack: Stack, cells: Ints, cell_report: Ints, own_uj: Ints, domain_cell: Ints, split_error: Floats
) -> Ints:
    """Return what of each share was modelled, its systematic error in µJ and its variance in µJ².

    cells is (2, pools, accounts), each Report's platform being a pool; the result is (3, reports, accounts).
    split_error has the deviation of active shares that are known, as a part of them; NaN for the others.
    """
    pools, accounts = cells.shape[1:]

    def by_cell(values: Floats) -> Floats:
        total = np.bincount(domain_cell, weights=values, minlength=pools)
        return total / np.maximum(energy, 1.0)

    energy = np.bincount(domain_cell, weights=own_uj, minlength=pools)
    accuracy = by_cell(own_uj * stack.join(lambda y: y.domain_accuracy_ppm) * 1e-6)
    modelled = by_cell(own_uj * np.concatenate([y.domain_modelled for y in stack.layouts]))
    step = step_variance_uj2(stack.join(lambda y: y.domain_resolution_uj)) * (own_uj > 0)
    variance = np.bincount(domain_cell, weights=step, minlength=pools).astype(np.float64)

    active, static = cells
    share = (active + static) * modelled[:, None]
    known = np.pad(split_error, ((0, pools - len(split_error)), (0, 0)), constant_values=np.nan)
    systematic = systematic_uj(active, static, accuracy, known)
    parts = (share, systematic, variance_uj2(active, static, variance))
    errors = np.zeros((3, len(stack.layouts), accounts))
    for error, part in zip(errors, parts, strict=True):
        np.add.at(error, cell_report, part)
    return np.rint(errors).astype(np.int64)
