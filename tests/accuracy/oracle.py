"""Books of one who knows what each job drives and the machine's curve, and sees what everybody's meters show.

No way of splitting does better on the same Reports but by luck: what its books miss is the meters' accuracy
and noise, the idle floor, what was lost, and ticks that come after an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.causes import Causes
from joulebook.collector.ledger.stack import Readings
from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.physics import Run
from tests.accuracy.telemetry import Ticks, job_id

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

_WEIGHTS_A_JOULE = 1_000


def oracle_books(sent: Sequence[Readings], mix: Mix, run: Run, ticks: Ticks) -> Books:
    """Book Reports by what each job truly caused in each tick."""
    jobs, packages = mix.jobs, len(run.package_w)
    on = mix.package == np.arange(packages)[:, None]
    caused_j = {f"cpu.{i}": _by_tick(run.cpu_caused_w[:, :jobs] * on[i], ticks) for i in range(packages)}
    caused_j |= {f"gpu.{i}": _by_tick(run.gpus.caused_w[i], ticks) for i in range(run.gpus.count)}
    caused_j["memory.0"] = _by_tick(run.memory_caused_w[:, :jobs], ticks)
    in_floor_j = _by_tick(np.maximum(run.in_floor_w.T, 0.0), ticks)
    return book(sent, causes=[_causes(one, caused_j, in_floor_j, ticks, jobs) for one in sent])


def _by_tick(caused_w: Floats, ticks: Ticks) -> Floats:
    """Return what each job caused in each tick, J (jobs, ticks)."""
    total = np.concatenate([np.zeros((1, caused_w.shape[1])), np.cumsum(caused_w, axis=0)]) / STEPS_PER_S
    energy: Floats = np.diff(total[ticks.steps], axis=0).T
    return energy


def _causes(
    one: Readings, caused_j: dict[str, Floats], in_floor_j: Floats, ticks: Ticks, jobs: int
) -> Causes:
    layout, count = one.layout, len(one.interval_us)
    names = list(layout.domain_names)
    shown_uj = one.values[layout.energy_row[names.index("cpu.0")], 0]
    begin = int(np.searchsorted(ticks.energy_uj["cpu.0"], shown_uj))
    pools = {int(layout.domain_pool[names.index(name)]): name for name in caused_j}
    weight = np.zeros((len(pools), len(layout.accounts), count), dtype=np.int64)
    place = {account: i for i, account in enumerate(layout.accounts)}
    for row, pool in enumerate(sorted(pools)):
        for job in range(jobs):
            account = place.get(f"job:{job_id(job)}")
            if account is not None:
                own_j = caused_j[pools[pool]][job, begin : begin + count]
                weight[row, account] = np.rint(own_j * _WEIGHTS_A_JOULE)
    moved_uj = np.zeros((len(pools), count), dtype=np.int64)
    for package, own_j in enumerate(in_floor_j):
        row = sorted(pools).index(int(layout.domain_pool[names.index(f"cpu.{package}")]))
        moved_uj[row] += np.rint(own_j[begin : begin + count] * 1e6).astype(np.int64)
    shape = weight.shape
    return Causes(
        pools=np.array(sorted(pools), dtype=np.int64),
        weight=weight,
        moved_uj=moved_uj,
        error=np.zeros(shape[:2]),
        part=np.ones(shape[1:]),
        part_error=np.zeros(shape[1:]),
    )
