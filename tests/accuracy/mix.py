"""Jobs drawn under a seed, as what each does in every step of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.accuracy.scenario import Scenario, Span

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEPS_PER_S = 100
# The machine idles before the first job, as machines do: the agent learns its floor then.
QUIET_S = 60.0
# A daemon: CPUs that it keeps busy.
SYSTEM_CPUS = 0.3


@dataclass(frozen=True, slots=True)
class Mix:
    """Jobs of one run; the last column is the system's. Arrays are (steps, jobs + 1) unless said otherwise.

    held and package have one entry a job: logical CPUs held, and the package that it is pinned to. first and
    last are steps: a job lives in [first, last).
    """

    first: Ints
    last: Ints
    held: Ints
    package: Ints
    busy_cpus: Floats
    intensity: Floats
    memory_bytes: Floats
    bandwidth_gb_s: Floats

    @property
    def jobs(self) -> int:
        """Return how many jobs there are."""
        return len(self.held)


def draw(scenario: Scenario, seed: int) -> Mix:
    """Draw jobs; the same scenario and seed give the same mix."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    jobs, machine = scenario.jobs, scenario.machine
    steps = round(scenario.duration_s * STEPS_PER_S)
    quiet = round(QUIET_S * STEPS_PER_S)
    count = int(rng.integers(jobs.count[0], jobs.count[1] + 1))
    threads = machine.cores_per_package * machine.threads_per_core
    free = np.full(machine.packages, threads)
    first, last, held, package = (np.zeros(count, dtype=np.int64) for _ in range(4))
    busy, intensity, memory, bandwidth = (np.zeros((steps, count + 1)) for _ in range(4))
    for job in range(count):
        # Where most room is, as a scheduler would; a job never holds what another does.
        package[job] = int(free.argmax())
        held[job] = max(1, min(int(rng.integers(jobs.cpus[0], jobs.cpus[1] + 1)), int(free.max())))
        free[package[job]] -= held[job]
        length = min(round(_uniform(rng, jobs.length_s) * STEPS_PER_S), steps - quiet)
        first[job] = quiet + int(rng.integers(0, steps - quiet - length + 1))
        last[job] = first[job] + max(length, 1)
        span = slice(first[job], last[job])
        depth = _phases(rng, jobs.phase_s, int(last[job] - first[job]))
        level = _uniform(rng, jobs.busy) * (1 - jobs.phase_depth * depth[0])
        moves = 1 + jobs.jitter * np.repeat(rng.standard_normal(len(level) // STEPS_PER_S + 1), STEPS_PER_S)
        busy[span, job] = held[job] * np.clip(level * moves[: len(level)], 0, 1)
        intensity[:, job] = _uniform(rng, jobs.intensity)
        intensity[span, job] *= 1 - jobs.phase_depth / 2 * depth[1]
        memory[span, job] = _uniform(rng, jobs.memory_gib) * 2**30
        bandwidth[span, job] = _uniform(rng, jobs.bandwidth_gb_s) * depth[1]
    busy[:, count], intensity[:, count], memory[:, count] = SYSTEM_CPUS, 1.0, 2 * 2**30
    return Mix(first, last, held, package, busy, intensity, memory, bandwidth)


def _uniform(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def _phases(rng: np.random.Generator, length_s: Span, steps: int) -> Floats:
    """Return two rows of levels in [0, 1] that change together, in phases."""
    levels = np.zeros((2, steps))
    at = 0
    while at < steps:
        length = round(_uniform(rng, length_s) * STEPS_PER_S) or steps
        levels[:, at : at + length] = rng.uniform(size=2)[:, None]
        at += length
    return levels
