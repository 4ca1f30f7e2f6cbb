"""One run: `python -m tests.system.chaos.run --store S --nodes N --rounds R --seed K`, on a machine apart."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

from tests.system.chaos.faults import FAULTS
from tests.system.chaos.fleet import Fleet
from tests.system.chaos.machine import do
from tests.system.chaos.stores import STORES

# Where the logs of a run that broke off are put.
_LOGS = Path("build/chaos")


def main() -> None:
    """Do every fault, round by round, and print what became of the books."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=list(STORES), required=True)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    do("ip", "link", "set", "lo", "up")
    # What is mounted in it goes with this machine.
    with tempfile.TemporaryDirectory(prefix="joulebook-chaos-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            with closing(Fleet(directory, store=given.store, nodes=given.nodes)) as fleet:
                found = _run(fleet, given.rounds, Random(given.seed), given.store)
        except BaseException:
            _keep_logs(directory, _LOGS / given.store)
            raise
    print(json.dumps(found))


def _run(fleet: Fleet, rounds: int, rng: Random, store: str) -> dict[str, object]:
    done: Counter[str] = Counter()
    for number in range(rounds):
        # The first round in the order in which they are listed; what was found is found again.
        faults = list(FAULTS) if not number else rng.sample(FAULTS, len(FAULTS))
        for fault in faults:
            print(f"{store}: round {number + 1} of {rounds}: {fault.__name__}", file=sys.stderr)
            fault(fleet, rng)
            done[fault.__name__] += 1
            # Now and then the next one comes before this one is over.
            if not number or rng.random() < 0.5:
                fleet.go_on()
    killed = fleet.killed()
    problems = fleet.settle()
    return {
        "faults": done,
        "killed": killed,
        "delivered_uj": sum(node.counter.delivered_uj for node in fleet.nodes),
        "booked_uj": sum(fleet.booked_uj(node) or 0 for node in fleet.nodes),
        "problems": problems,
    }


def _keep_logs(directory: Path, where: Path) -> None:
    for log in directory.rglob("*.log"):
        to = where / log.relative_to(directory)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, to)
    print(f"the logs are in {where}", file=sys.stderr)


if __name__ == "__main__":
    main()
