"""`make chaos [ROUNDS=r] [NODES=n] [SEED=k] [STORES=s,...]`: real processes; writes build/chaos.json."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from tests.bench.rows import Row, row, write
from tests.system.chaos.machine import lacking, run_apart
from tests.system.chaos.stores import STORES


def main() -> int:
    """Run it on every store, print the table; fail where a joule is missing or a run broke off."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stores", default=",".join(STORES))
    given = vars(parser.parse_args())
    stores = given.pop("stores").split(",")
    if unknown := [store for store in stores if store not in STORES]:
        parser.error(f"stores {', '.join(unknown)}: expected some of {', '.join(STORES)}")
    if what := lacking():
        print(f"needs {what}: deploy/install-packages", file=sys.stderr)
        return 2
    rows, failed = [], False
    for store in stores:
        ran = run_apart(f"--store={store}", *(f"--{name}={value}" for name, value in given.items()))
        if ran.returncode:
            print(f"{store}: broke off", ran.stdout, file=sys.stderr)
            failed = True
            continue
        found = json.loads(ran.stdout.splitlines()[-1])
        for problem in found["problems"]:
            print(f"{store}: {problem}", file=sys.stderr)
        failed |= bool(found["problems"])
        rows += _rows(store, found)
    write("chaos", rows)
    return int(failed)


def _rows(store: str, found: dict[str, Any]) -> list[Row]:
    off_uj = found["booked_uj"] - found["delivered_uj"]
    return [
        row(f"{store}: faults", "1", sum(found["faults"].values())),
        *(row(f"{store}: kill -9 of {what}", "1", times) for what, times in found["killed"].items()),
        row(f"{store}: links cut", "1", found["faults"]["cut_link"]),
        row(f"{store}: disks filled", "1", found["faults"]["fill_disk"]),
        row(f"{store}: energy delivered", "µJ", found["delivered_uj"]),
        row(f"{store}: booked and not delivered", "µJ", max(0, off_uj), target=0),
        row(f"{store}: delivered and not booked", "µJ", max(0, -off_uj), target=0),
    ]


if __name__ == "__main__":
    sys.exit(main())
