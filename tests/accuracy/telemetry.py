"""What agents would see: the counters of a run, at ticks, as the agent's own arithmetic makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.agent.floor import IdleFloor
from joulebook.agent.meters.counter import EnergyCounter
from tests.accuracy.gpus import GpuRun
from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.physics import Run
from tests.accuracy.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP_US = 1_000_000 // STEPS_PER_S
START_US = 50_000_000
LIMIT_MW = 20_000_000
# No package draws that much: what a wrap is told by.
_PACKAGE_LIMIT_MW = 1_000_000
# RAPL's accuracy as it is booked; a memory's; a GPU's; a BMC's.
ACCURACY_PPM = {"cpu": 30_000, "memory": 50_000, "gpu": 50_000, "node": 50_000}


@dataclass(frozen=True, slots=True)
class Ticks:
    """Counters at the end of each tick, (ticks + 1,) or (jobs, ticks + 1); µJ, µs, bytes.

    steps are the steps that ticks end at. seen are the ticks [first, last) that a job's workload is known in,
    away those in which no agent ran. gpu_ppm is the use of each GPU that the driver tells of each job's
    processes (gpus, jobs, ticks + 1).
    """

    steps: Ints
    energy_uj: dict[str, Ints]
    floor_mw: dict[str, Ints]
    busy_us: Ints
    package_busy_us: Ints
    cpu_us: Ints
    memory_bytes: Ints
    memory_used_bytes: Ints
    seen: list[tuple[int, int]]
    unread_us: dict[str, Ints]
    gpu_ppm: Ints
    away: list[tuple[int, int]]


def job_id(number: int) -> str:
    """Name a job."""
    return f"slurm.{number + 1}"


def watch(scenario: Scenario, mix: Mix, run: Run, seed: int) -> Ticks:
    """Tick over a run, at the edges of jobs too where the scenario says so."""
    total = len(mix.busy_cpus)
    rng = np.random.default_rng([seed, 5])
    steps = np.arange(0, total + 1, round(scenario.watch.tick_s * STEPS_PER_S))
    missed = rng.random(len(steps)) < scenario.watch.missed_ticks
    missed[[0, -1]] = False
    steps = steps[~missed]
    late = round(scenario.watch.late_s * STEPS_PER_S)
    first_at, last_at = np.minimum(mix.first + late, total), np.minimum(mix.last + late, total)
    if scenario.watch.edges:
        steps = np.union1d(steps, np.concatenate([first_at, last_at]))
    powers = {f"cpu.{i}": power for i, power in enumerate(run.package_w)} | {"memory.0": run.memory_w}
    powers |= {f"gpu.{i}": power for i, power in enumerate(run.gpus.shown_w)}
    if run.node_w is not None:
        powers["node"] = run.node_w
    # A meter's accuracy is where 95 % of its kind lie.
    gains = 1 + scenario.machine.miscalibration * 0.5e-6 * np.random.default_rng([seed, 3]).standard_normal(
        len(powers)
    ) * [ACCURACY_PPM[name.partition(".")[0]] for name in powers]
    energy = {
        name: _counted(gain * power * STEP_US, steps)
        for (name, power), gain in zip(powers.items(), gains.tolist(), strict=True)
    }
    away = _away(scenario, steps, rng)
    unread = {name: np.zeros_like(steps) for name in energy}
    if scenario.machine.counter_range_j:
        for package in range(len(run.package_w)):
            name = f"cpu.{package}"
            energy[name], unread[name] = _wrapped(scenario, steps, energy[name], away)
    cpu = _counted(mix.busy_cpus.T * STEP_US, steps)
    at = np.maximum(steps - 1, 0)
    memory = mix.memory_bytes.T[:, at].astype(np.int64)
    busy_us = cpu.sum(axis=0)
    package_busy = [_busy(mix, cpu, package, len(run.package_w)) for package in range(len(run.package_w))]
    memory_used = memory.sum(axis=0)
    if scenario.watch.edges:
        first = np.searchsorted(steps, first_at)
    else:
        first = np.searchsorted(steps, mix.first, "right") - 1
    # What a job used after its last reading is known from what contained it, so its last interval is whole.
    last = np.searchsorted(steps, last_at)
    for job, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        # A cgroup counts from its making, so its first interval is whole too.
        cpu[job, begin] = 0
        if steps[end] > mix.last[job]:
            # Its memory is as it was read last; one that no tick saw has none.
            memory[job, end] = memory[job, end - 1] if end - 1 > begin else 0
    return Ticks(
        steps=steps,
        energy_uj=energy,
        floor_mw={name: _floor(steps * STEP_US, counter) for name, counter in energy.items()},
        busy_us=busy_us,
        package_busy_us=np.stack(package_busy),
        cpu_us=cpu,
        memory_bytes=memory,
        memory_used_bytes=memory_used,
        seen=list(zip(first.tolist(), last.tolist(), strict=True)),
        unread_us=unread,
        gpu_ppm=_told(run.gpus, steps),
        away=away,
    )


def _away(scenario: Scenario, steps: Ints, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw when the agent is started again: between which ticks there is none."""
    away_steps = round(scenario.watch.away_s * STEPS_PER_S)
    begins = np.sort(rng.integers(1, len(steps) - 1, scenario.watch.restarts))
    spans: list[tuple[int, int]] = []
    for begin in begins.tolist():
        end = int(np.searchsorted(steps, steps[begin] + away_steps))
        if end < len(steps) - 1 and (not spans or begin > spans[-1][1]):
            spans.append((begin, end))
    return spans


def _wrapped(
    scenario: Scenario, steps: Ints, energy_uj: Ints, away: list[tuple[int, int]]
) -> tuple[Ints, Ints]:
    """Read a counter that wraps as the agent does; return its energy and unread time at each tick."""
    range_uj = round(scenario.machine.counter_range_j * 1e6)
    counter = EnergyCounter(range_uj=range_uj, limit_mw=_PACKAGE_LIMIT_MW)
    is_away = np.zeros(len(steps), dtype=bool)
    for begin, end in away:
        is_away[begin + 1 : end] = True
    found = np.zeros((2, len(steps)), dtype=np.int64)
    raw = ((energy_uj + range_uj // 2) % range_uj).tolist()
    for tick, (now_us, gone) in enumerate(zip((steps * STEP_US + START_US).tolist(), is_away, strict=True)):
        if not gone:
            counter.update(raw[tick], now_us)
        found[:, tick] = counter.energy_uj, counter.unread_us
    return found[0], found[1]


def _told(gpus: GpuRun, steps: Ints) -> Ints:
    """Return what the driver tells of each job's processes: their use in the last tick, in whole per cent."""
    if not gpus.tells:
        return np.zeros((gpus.count, gpus.use.shape[2], len(steps)), dtype=np.int64)
    total = np.concatenate([np.zeros_like(gpus.use[:, :1]), np.cumsum(gpus.use, axis=1)], axis=1)[:, steps]
    mean = np.diff(total, axis=1, prepend=total[:, :1]) / np.diff(steps, prepend=-1)[None, :, None]
    told: Ints = np.rint(mean * 100).astype(np.int64).transpose(0, 2, 1) * 10_000
    return told


def _busy(mix: Mix, cpu_us: Ints, package: int, packages: int) -> Ints:
    """Return the CPU time of a package: of the jobs on it, and its part of the system's."""
    busy: Ints = cpu_us[:-1][mix.package == package].sum(axis=0) + cpu_us[-1] // packages
    return busy


def _counted(rate: Floats, steps: Ints) -> Ints:
    """Add up amounts a step to a counter at the given steps, in whole units."""
    total = np.concatenate([np.zeros((*rate.shape[:-1], 1)), np.cumsum(rate, axis=-1)], axis=-1)
    counted: Ints = np.floor(total[..., steps]).astype(np.int64)
    return counted


def _floor(now_us: Ints, energy_uj: Ints) -> Ints:
    """Learn the idle floor as the agent does."""
    floor = IdleFloor()
    pairs = zip((now_us + START_US).tolist(), energy_uj.tolist(), strict=True)
    return np.array([floor.update(now, energy) for now, energy in pairs], dtype=np.int64)
