"""What of every account's share is modelled, and how far off it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.stack import Stack
from joulebook.collector.ledger.uncertainty import DEVIATIONS, split_uj, step_variance_uj2, variance_uj2

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
    of_meter = (active + static) * accuracy[:, None]
    of_split = split_uj(active, known)
    shape = (len(stack.layouts), accounts, pieces)

    def by_report(values: Floats) -> Floats:
        total = np.zeros(shape)
        np.add.at(total, cell_report[: len(values)], values)
        return total

    learnt = np.zeros((len(stack.layouts), 1, pieces), dtype=bool)
    np.logical_or.at(learnt, cell_report, ~np.isnan(known).all(axis=1, keepdims=True))
    systematic = by_report(of_meter + of_split)
    if learnt.any():
        # What a container has beyond its parts is its meter's less theirs, with all of that meter's error.
        of_container = np.array([y.has_containers for y in stack.layouts])
        whole = by_report(active + static) * accuracy[-len(of_container) :, None]
        of_meter[-len(of_container) :][of_container] = whole[of_container]
        held = 0.0 if held_uj is None else by_report(DEVIATIONS * held_uj)
        joined = np.sqrt(by_report(of_meter**2) + by_report(of_split) ** 2 + held**2)
        systematic = np.where(learnt, joined, systematic)
    errors = [by_report(share), systematic, by_report(variance_uj2(active, static, variance))]
    return np.rint(np.stack(errors)).astype(np.int64)
