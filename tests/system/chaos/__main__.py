"""`make chaos [ROUNDS=r] [NODES=n] [SEED=k]`: real processes, both stores; writes build/chaos.json."""

from __future__ import annotations

import argparse
import json
import sys

from tests.bench.rows import row, write
from tests.system.chaos.machine import lacking, run_apart


def main() -> int:
    """Run it on either store, print the table; fail where a joule is missing."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if what := lacking():
        print(f"needs {what}: deploy/install-packages", file=sys.stderr)
        return 2
    rows, failed = [], False
    for store in ("duckdb", "influxdb"):
        options = [f"--{name}={value}" for name, value in vars(given).items()]
        ran = run_apart(f"--store={store}", *options)
        if ran.returncode:
            print(ran.stdout, ran.stderr, file=sys.stderr)
            return 1
        found = json.loads(ran.stdout.splitlines()[-1])
        for problem in found["problems"]:
            print(f"{store}: {problem}", file=sys.stderr)
        failed |= bool(found["problems"])
        off_uj = found["booked_uj"] - found["delivered_uj"]
        rows += [
            row(f"{store}: faults", "1", found["faults"]),
            row(f"{store}: energy delivered", "µJ", found["delivered_uj"]),
            row(f"{store}: booked and not delivered", "µJ", max(0, off_uj), target=0),
            row(f"{store}: delivered and not booked", "µJ", max(0, -off_uj), target=0),
        ]
    write("chaos", rows)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
