"""`make simulate SEEDS=n [FROM=k] [JOBS=j]`, or SEED=k for one with its trace."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.bench.rows import row, write
from tests.simulation.world import Outcome, outcome_of, simulate


def main() -> int:
    """Run seeds, print the table and write build/simulate.json; fail where a seed does."""
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    if given.seed is not None:
        return _show(simulate(given.seed))
    outcomes = []
    seeds = range(given.first, given.first + given.seeds)
    for outcome in _outcomes(seeds, given.jobs):
        outcomes.append(outcome)
        if outcome.problems:
            print(
                f"seed {outcome.seed}: {outcome.problems[0]}; make simulate SEED={outcome.seed}", flush=True
            )
    _report(outcomes)
    return int(any(outcome.problems for outcome in outcomes))


def _outcomes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Run seeds in as many processes; one job is this process itself, which can be stopped as one."""
    if jobs == 1:
        yield from map(outcome_of, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(outcome_of, seeds, chunksize=8)


def _show(outcome: Outcome) -> int:
    print("\n".join(outcome.trace))
    print(f"seed {outcome.seed}, trace {outcome.digest}: {outcome.balance}")
    for problem in outcome.problems:
        print(f"PROBLEM: {problem}")
    return int(bool(outcome.problems))


def _report(outcomes: list[Outcome]) -> None:
    faults: Counter[str] = sum((outcome.faults for outcome in outcomes), Counter())
    counts: Counter[str] = sum((outcome.counts for outcome in outcomes), Counter())
    failed = [outcome.seed for outcome in outcomes if outcome.problems]
    rows = [
        row("seeds", "1", len(outcomes)),
        row("seeds with a problem", "1", len(failed), target=0),
        row("energy lost", "µJ", sum(o.balance.lost_uj for o in outcomes), target=0),
        row("energy booked twice", "µJ", sum(o.balance.twice_uj for o in outcomes), target=0),
        row("energy booked", "µJ", sum(o.balance.booked_uj for o in outcomes)),
        row("of it unattributed", "µJ", sum(o.balance.unattributed_uj for o in outcomes)),
        row("Reports stored", "1", counts["stored"]),
        row("of them with learnt powers", "1", counts["told of powers"]),
        row("of them with disks of several tiers", "1", counts["disks of several tiers"]),
        *(row(f"faults: {name}", "1", count) for name, count in sorted(faults.items())),
    ]
    write("simulate", rows)


if __name__ == "__main__":
    sys.exit(main())
