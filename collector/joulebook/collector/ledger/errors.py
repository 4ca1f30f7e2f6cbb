"""What of every account's share is modelled, and how far off it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.stack import Stack
from joulebook.collector.ledger.uncertainty import DEVIATIONS, step_variance_uj2, systematic_uj, variance_uj2

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


def errors_of(
    stack: Stack,
    cells: Ints,
    cell_report: Ints,
    own_uj: Ints,
    domain_cell: Ints,
    split_error: Floats,
    held_uj: Ints | None = None,
) -> Ints:
    """Return what of each share was modelled, its systematic error in µJ and its variance in µJ².

    cells is (2, pools, accounts, pieces), each Report's platform being a pool; own_uj is (domains, pieces),
    the result (3, reports, accounts, pieces). split_error (pools but for platforms, accounts, pieces) has the
    deviation of active shares that are known, as a part of them; NaN for the others. held_uj, of the same
    shape, is that of what was held by who was not there all the time.
    """
    pools, accounts, pieces = cells.shape[1:]

    def by_cell(values: Ints | Floats) -> Floats:
        # In the order of the domains, always: sums of floats depend on it.
        total = np.zeros((pools, pieces))
        np.add.at(total, domain_cell, values)
        return total

    energy = np.maximum(by_cell(own_uj), 1.0)
    accuracy = by_cell(own_uj * stack.join(lambda y: y.domain_accuracy_ppm)[:, None] * 1e-6) / energy
    sampling_row = stack.rows(lambda y: y.sampling_row)
    if (sampling_row < len(stack.values) - 1).any():
        # Of what a gauge did not show nobody knows whose it was: it goes with everybody's share.
        sampling = stack.by_piece(stack.increments(sampling_row))
        accuracy = accuracy + by_cell(np.where(own_uj > 0, sampling, 0)) / energy
    is_modelled = np.concatenate([y.domain_modelled for y in stack.layouts])
    modelled = by_cell(own_uj * is_modelled[:, None]) / energy
    step = step_variance_uj2(stack.join(lambda y: y.domain_resolution_uj))
    variance = by_cell(step[:, None] * (own_uj > 0))

    active, static = cells
    share = (active + static) * modelled[:, None]
    known = np.pad(split_error, ((0, pools - len(split_error)), (0, 0), (0, 0)), constant_values=np.nan)
    systematic = systematic_uj(active, static, accuracy, known)
    if held_uj is not None:
        systematic[: len(held_uj)] += DEVIATIONS * held_uj
    parts = (share, systematic, variance_uj2(active, static, variance))
    errors = np.zeros((3, len(stack.layouts), accounts, pieces))
    for error, part in zip(errors, parts, strict=True):
        np.add.at(error, cell_report, part)
    return np.rint(errors).astype(np.int64)
