"""A mix from its drawing to everybody's errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CPU, MEMORY
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.ledger.uncertainty import plus_minus_uj
from tests.accuracy.mix import draw
from tests.accuracy.oracle import oracle_books
from tests.accuracy.peers import FORMULAS, seen
from tests.accuracy.physics import simulate
from tests.accuracy.scenario import Scenario
from tests.accuracy.telemetry import job_id, readings, watch
from tests.accuracy.truth import truths

Floats = npt.NDArray[np.float64]

# Of which a job's share of all is judged by several tools: what ours says in each sense.
MEANINGS = ("active cpu", "active", "all")


@dataclass(frozen=True, slots=True)
class Score:
    """Relative errors by job. The first three are by meaning; within says of which jobs ± held the truth."""

    live: dict[str, Floats]
    settled: dict[str, Floats]
    oracle: dict[str, Floats]
    peers: dict[str, Floats]
    live_within: npt.NDArray[np.bool_]
    settled_within: npt.NDArray[np.bool_]
    residual_uj: int


def score(scenario: Scenario, seed: int) -> Score:
    """Draw a mix, run it, watch it, book it, and compare."""
    mix = draw(scenario, seed)
    run = simulate(scenario.machine, mix, seed)
    ticks = watch(scenario, mix, run, seed)
    sent = readings(scenario, mix, ticks, seed)
    truth = truths(scenario.machine, mix, run)
    errors, within, residual_uj = [], [], 0
    for books in (book(sent), settled_books(sent), oracle_books(sent, mix, run, ticks)):
        booked = np.array([_booked_j(books, job_id(job)) for job in range(mix.jobs)])
        errors.append({m: _relative(booked[:, i], truth[m]) for i, m in enumerate(MEANINGS)})
        within.append(np.abs(booked[:, 2] - truth["all"]) <= booked[:, 3])
        residual_uj += int(np.abs(books.residual_uj).sum())
    known = seen(scenario, ticks)
    return Score(
        live=errors[0],
        settled=errors[1],
        oracle=errors[2],
        peers={name: _relative(formula(known), truth[m]) for name, (formula, m) in FORMULAS.items()},
        live_within=within[0],
        settled_within=within[1],
        residual_uj=residual_uj,
    )


def _booked_j(books: Books, job: str) -> tuple[float, float, float, float]:
    """Return a job's energy in each meaning, and the ± of all of it."""
    rows = np.array([account == f"job:{job}" for account in books.account], dtype=bool)
    active, idle = books.active_uj[rows], books.idle_uj[rows]
    spread = plus_minus_uj(int(books.systematic_uj[rows].sum()), int(books.variance_uj2[rows].sum()))
    cpu, memory = int(active[:, CPU].sum()), int(active[:, MEMORY].sum())
    return cpu / 1e6, (cpu + memory) / 1e6, int(active.sum() + idle.sum()) / 1e6, spread / 1e6


def _relative(said_j: Floats, truth_j: Floats) -> Floats:
    """Return errors as fractions of the truth; jobs that caused nothing are left out."""
    counts = truth_j > 0
    error: Floats = np.abs(said_j - truth_j)[counts] / truth_j[counts]
    return error
