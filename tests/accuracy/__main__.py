"""`make accuracy`: everybody's error per job, in scenarios of known truth; writes build/accuracy.json."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.accuracy.peers import FORMULAS
from tests.accuracy.scenario import SCENARIOS, Scenario, load
from tests.accuracy.score import MEANINGS, Score, score
from tests.bench.rows import Row, row, write

# What settled books are to reach beside the scenario's mean: 95th percentile, %; how far better than the best
# peer where jobs vary; how many points worse anywhere; for which part of the jobs ± holds the truth, %.
_P95, _BETTER, _WORSE, _WITHIN = 12.0, 3.0, 1.0, (93.0, 97.0)


def rows(scenario: Scenario, scores: list[Score]) -> list[Row]:
    """Return a scenario's figures: ours, settled and live, beside the best peer, then beside every peer."""
    found = []

    books = ([s.settled for s in scores], [s.live for s in scores], [s.oracle for s in scores])
    for meaning in (m for m in MEANINGS if m != "gpu" or scenario.gpus.count):
        settled, live, oracle = (_percent([of[meaning] for of in mixes]) for mixes in books)
        peers = {
            name: float(_percent([s.peers[name] for s in scores]).mean())
            for name, (_, m) in FORMULAS.items()
            if m == meaning
        }
        best = min(peers, key=lambda name: peers[name])
        judged = meaning in ("active cpu", "gpu")
        if meaning == "active cpu" and scenario.varies:
            title = f"{scenario.name}: how often our error, {meaning}, is in the best peer's"
            found.append(
                row(title, "×", peers[best] / max(float(settled.mean()), 1e-9), target=_BETTER, at_least=True)
            )
        title = f"{scenario.name}: error per job, {meaning}"
        found += [
            row(
                f"{title}, settled",
                "% mean",
                float(settled.mean()),
                peer=f"best of {len(peers)}: {best}",
                peer_value=peers[best],
                target=scenario.target,
            ),
            row(
                f"{title}, settled, less the best peer's",
                "points",
                float(settled.mean()) - peers[best],
                target=_WORSE,
            ),
            row(
                f"{title}, settled",
                "% 95th percentile",
                float(np.percentile(settled, 95)),
                target=_P95 if judged else None,
            ),
            row(
                f"{title}, live",
                "% mean",
                float(live.mean()),
                peer="settled",
                peer_value=float(settled.mean()),
            ),
            row(
                f"{title}, oracle",
                "% mean",
                float(oracle.mean()),
                peer="settled",
                peer_value=float(settled.mean()),
            ),
            row(f"{title}, oracle", "% 95th percentile", float(np.percentile(oracle, 95))),
        ]
        found += [
            row(f"{scenario.name}: {meaning}", "% mean", float(settled.mean()), peer=name, peer_value=value)
            for name, value in peers.items()
        ]
    both = ([s.settled_within for s in scores], [s.live_within for s in scores])
    for name, within in zip(("settled", "live"), both, strict=True):
        target, most = _WITHIN if name == "settled" else (None, None)
        title, share = (
            f"{scenario.name}: jobs whose truth lies within ±, {name}",
            float(_percent(within).mean()),
        )
        found.append(row(title, "%", share, target=target, at_least=True))
        if most is not None:
            found.append(row(f"{title}, at most", "%", share, target=most))
    found.append(row(f"{scenario.name}: residual", "µJ", sum(s.residual_uj for s in scores), target=0))
    return found


def _percent(of_mixes: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return 100 * np.concatenate(of_mixes).astype(float)


def main() -> int:
    """Run scenarios, print and write; fail where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--scenarios", type=Path, default=SCENARIOS, help="a directory of .toml files")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the first mix")
    parser.add_argument("--mixes", type=int, default=0, help="mixes a scenario; 0: as its file says")
    parser.add_argument("--json", action="store_true", help="print the rows alone, as JSON")
    asked = parser.parse_args()
    found = []
    with ProcessPoolExecutor() as pool:
        for scenario in load(asked.scenarios):
            seeds = range(asked.seed, asked.seed + (asked.mixes or scenario.mixes))
            found += rows(scenario, list(pool.map(partial(score, scenario), seeds)))
    if asked.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        write("accuracy", found)
    return int(any(one.met is False for one in found))


if __name__ == "__main__":
    sys.exit(main())
