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

# What settled books are to reach (mean, 95th percentile); live books are shown beside them.
_MEAN, _P95 = 5.0, 12.0


def rows(scenario: Scenario, scores: list[Score]) -> list[Row]:
    """Return a scenario's figures: ours beside the best peer of each meaning, then every peer."""
    found = []
    peers = {name: _joined([s.peers[name] for s in scores]) for name in FORMULAS}
    for meaning in MEANINGS:
        ours = _joined([s.ours[meaning] for s in scores])
        of = {name: peers[name] for name, (_, m) in FORMULAS.items() if m == meaning}
        best = min(of, key=lambda name: float(of[name].mean()))
        title = f"{scenario.name}: error per job, {meaning}, live"
        judged = meaning == "active cpu"
        found.append(
            row(
                title,
                "% mean",
                _percent(ours.mean()),
                peer=f"best of {len(of)}: {best}",
                peer_value=_percent(of[best].mean()),
                target=_MEAN if judged else None,
            )
        )
        p95 = _percent(np.percentile(ours, 95))
        found.append(row(title, "% 95th percentile", p95, target=_P95 if judged else None))
        for name, errors in of.items():
            value = _percent(errors.mean())
            found.append(
                row(
                    f"{scenario.name}: {meaning}",
                    "% mean",
                    _percent(ours.mean()),
                    peer=name,
                    peer_value=value,
                )
            )
    within = _percent(_joined([s.within for s in scores]).mean())
    found.append(
        row(f"{scenario.name}: jobs whose truth lies within ±", "%", within, target=93.0, at_least=True)
    )
    found.append(row(f"{scenario.name}: residual", "µJ", sum(s.residual_uj for s in scores), target=0))
    return found


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts)


def _percent(fraction: float) -> float:
    return float(fraction) * 100


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
