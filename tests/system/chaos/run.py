"""One run: `python -m tests.system.chaos.run --store S --nodes N --rounds R --seed K`, on a machine apart."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from random import Random

from tests.system.chaos.faults import FAULTS
from tests.system.chaos.fleet import Fleet
from tests.system.chaos.machine import do


def main() -> None:
    """Do every fault, round by round, and print what became of the books."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=["duckdb", "influxdb"], required=True)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = Random(given.seed)
    do("ip", "link", "set", "lo", "up")
    done = 0
    with tempfile.TemporaryDirectory(prefix="joulebook-chaos-") as directory:
        fleet = Fleet(Path(directory), store=given.store, nodes=given.nodes)
        try:
            for number in range(given.rounds):
                # The first round in the order in which they are listed; what was found is found again.
                faults = list(FAULTS) if not number else rng.sample(FAULTS, len(FAULTS))
                for fault in faults:
                    fault(fleet, rng)
                    done += 1
                    # Now and then the next one comes before this one is over.
                    if not number or rng.random() < 0.5:
                        fleet.go_on()
            problems = fleet.settle()
            delivered_uj = sum(node.counter.delivered_uj for node in fleet.nodes)
            booked_uj = sum(fleet.booked_uj(node) or 0 for node in fleet.nodes)
        finally:
            fleet.close()
    print(
        json.dumps(
            {"faults": done, "delivered_uj": delivered_uj, "booked_uj": booked_uj, "problems": problems}
        )
    )


if __name__ == "__main__":
    main()
