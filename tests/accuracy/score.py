"""A mix from its drawing to everybody's errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CLASSES, CPU, GPU, MEMORY
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.ledger.uncertainty import plus_minus_uj
from tests.accuracy.mix import draw
from tests.accuracy.oracle import oracle_books
from tests.accuracy.peers import FORMULAS, seen
from tests.accuracy.physics import simulate
from tests.accuracy.reports import reports
from tests.accuracy.scenario import Scenario
from tests.accuracy.telemetry import START_US, job_id, watch
from tests.accuracy.truth import truths

Floats = npt.NDArray[np.float64]

# Of which a job's share of all is judged by several tools: what ours says in each sense.
MEANINGS = ("active cpu", "active", "gpu", "all")


@dataclass(frozen=True, slots=True)
class Score:
    """Relative errors by job. The first four are by meaning; within says of which jobs ± held the truth."""

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
    run = simulate(scenario, mix, seed)
    ticks = watch(scenario, mix, run, seed)
    arrived = reports(scenario, mix, run, ticks, seed)
    sent = [one.readings for one in arrived]
    truth = truths(scenario, mix, run)
    errors, within, residual_uj = [], [], 0
    # Stores settle an hour at a time.
    settled = [
        settled_books([one.readings for one in hour], [one.start for one in hour]) for hour in _hours(arrived)
    ]
    for kind in ([book(sent)], settled, [oracle_books(sent, mix, run, ticks)]):
        booked = np.array([_booked_j(kind, job_id(job)) for job in range(mix.jobs)])
        errors.append({m: _relative(booked[:, i], truth[m]) for i, m in enumerate(MEANINGS)})
        within.append(np.abs(booked[:, 3] - truth["all"]) <= booked[:, 4])
        residual_uj += sum(int(np.abs(books.residual_uj).sum()) for books in kind)
    known = seen(scenario, mix, run, ticks)
    return Score(
        live=errors[0],
        settled=errors[1],
        oracle=errors[2],
        peers={name: _relative(formula(known), truth[m]) for name, (formula, m) in FORMULAS.items()},
        live_within=within[0],
        settled_within=within[1],
        residual_uj=residual_uj,
    )


def _hours(sent: list[Decoded]) -> list[list[Decoded]]:
    """Part Reports by the hour that they end in."""
    hours = (np.array([one.end_us for one in sent]) - START_US - 1) // 3_600_000_000
    return [[sent[i] for i in np.flatnonzero(hours == hour).tolist()] for hour in np.unique(hours)]


def _booked_j(all_books: list[Books], job: str) -> tuple[float, ...]:
    """Return a job's energy in each meaning, and the ± of all of it, J."""
    of_class = np.zeros((2, len(CLASSES)), dtype=np.int64)
    systematic_uj = variance_uj2 = 0
    for books in all_books:
        rows = np.array([account == f"job:{job}" for account in books.account], dtype=bool)
        of_class += (books.active_uj[rows].sum(axis=0), books.idle_uj[rows].sum(axis=0))
        systematic_uj += int(books.systematic_uj[rows].sum())
        variance_uj2 += int(books.variance_uj2[rows].sum())
    (cpu, memory), gpu = of_class[0, [CPU, MEMORY]].tolist(), int(of_class[:, GPU].sum())
    booked_uj = (cpu, cpu + memory, gpu, int(of_class.sum()), plus_minus_uj(systematic_uj, variance_uj2))
    return tuple(value / 1e6 for value in booked_uj)


def _relative(said_j: Floats, truth_j: Floats) -> Floats:
    """Return errors as fractions of the truth; jobs that caused nothing are left out."""
    counts = truth_j > 0
    error: Floats = np.abs(said_j - truth_j)[counts] / truth_j[counts]
    return error
