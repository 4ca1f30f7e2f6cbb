"""`make crashes [EVERY=n] [SEED=k] [SCENE=name]`: crash after every n-th operation of every scene."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from tests.crashes.crash import HOW, check, record
from tests.crashes.recording import built
from tests.crashes.scenes import SCENES


def main() -> int:
    """Check what every crash leaves, and print how many there were; fail where one is not as it must be."""
    parser = argparse.ArgumentParser(prog="make crashes")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", choices=[*SCENES], action="append")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="joulebook-crashes-") as name:
        library = built(Path(name))
        for scene in given.scene or SCENES:
            recording = record(SCENES[scene], library, Path(name))
            points = range(given.seed % given.every, len(recording.operations) + 1, given.every)
            for how in HOW:
                for crash in recording.crashes(points, how, given.seed):
                    try:
                        check(recording.scene, crash)
                    except Exception:
                        failed += 1
                        traceback.print_exc(limit=-3)
                print(
                    f"{scene}: {how} after {len(points)} of {len(recording.operations)} operations",
                    flush=True,
                )
    print(f"{failed} left what they must not")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
