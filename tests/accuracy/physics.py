"""What a machine draws for a mix, and who truly caused it.

A package with busy threads c_j of intensities w_j draws, beyond its idle power, F(c) = w̄ g(S), where
S = Σ c_j, w̄ = Σ w_j c_j / S, and g is concave: a core's second thread adds less than its first, and clocks
fall as more cores are busy. Who caused how much is then a matter of fairness: nobody came first. The
Aumann–Shapley rule lets all come in together, from nothing to what they are, and charges each the cost of its
own growth:
∫₀¹ c_j ∂F/∂c_j(t c) dt. With φ(S) = g(S)/S and Φ(S) = ∫₀¹ φ(tS) dt this is

    c_j w_j Φ(S) + c_j w̄ (φ(S) − Φ(S)),

which adds up to F. Memory draws by bandwidth, which is linear, so each causes its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.accuracy.gpus import GpuRun, run_gpus
from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.scenario import Machine, Scenario

Floats = npt.NDArray[np.float64]

_GRID = 512


@dataclass(frozen=True, slots=True)
class Run:
    """Powers in W: caused ones by (steps, jobs + 1), those of packages by (packages, steps), others by step.

    in_floor_w is what jobs cause of what the daemon draws alone, which floors have.
    """

    package_w: Floats
    memory_w: Floats
    node_w: Floats | None
    in_floor_w: Floats
    cpu_caused_w: Floats
    memory_caused_w: Floats
    gpus: GpuRun


def simulate(scenario: Scenario, mix: Mix, seed: int) -> Run:
    """Run a mix on a scenario's machine."""
    machine, gpus = scenario.machine, run_gpus(scenario, mix, seed)
    rng = np.random.default_rng([seed, 1])
    steps = len(mix.busy_cpus)
    package_w, in_floor_w = np.zeros((2, machine.packages, steps))
    caused = np.zeros_like(mix.busy_cpus)
    for package in range(machine.packages):
        on = np.append(mix.package == package, True)
        # The system runs everywhere alike.
        busy = np.where(on, mix.busy_cpus, 0.0)
        busy[:, -1] /= machine.packages
        own = _caused(machine, busy, mix.intensity)
        caused += own
        package_w[package] = machine.package_idle_w + own.sum(axis=1)
        in_floor_w[package] = _g(machine, busy[:1, -1]) - own[:, -1]
    memory_caused = machine.memory_w_per_gb_s * mix.bandwidth_gb_s
    memory_w = machine.memory_idle_w + memory_caused.sum(axis=1)
    package_w *= _noise(rng, package_w.shape, machine.noise)
    memory_w *= _noise(rng, memory_w.shape, machine.noise)
    node_w = None
    if machine.node_fans_w:
        parts_w = package_w.sum(axis=0) + memory_w + gpus.power_w.sum(axis=0)
        node_w = _slow(machine.node_fans_w + parts_w * (1 + machine.node_loss), machine)
    return Run(package_w, memory_w, node_w, in_floor_w, caused, memory_caused, gpus)


def _caused(machine: Machine, busy: Floats, intensity: Floats) -> Floats:
    """Return what each causes of one package's active power."""
    threads = machine.cores_per_package * machine.threads_per_core
    grid = np.linspace(0.0, threads, _GRID)[1:]
    per_thread = _g(machine, grid) / grid
    # Φ(S) is the mean of φ over (0, S]; φ is flat below the first point.
    widths = np.diff(grid, prepend=0.0)
    mean = np.cumsum(per_thread * widths) / grid
    total = np.minimum(busy.sum(axis=1), threads)
    phi, mean_phi = np.interp(total, grid, per_thread), np.interp(total, grid, mean)
    weighted = (busy * intensity).sum(axis=1) / np.maximum(total, 1e-9)
    own: Floats = busy * (intensity * mean_phi[:, None] + (weighted * (phi - mean_phi))[:, None])
    return own


def _g(machine: Machine, busy: Floats) -> Floats:
    """Return the active power of so many busy threads of intensity 1."""
    cores = machine.cores_per_package
    most = cores * (1 + machine.smt_yield * (machine.threads_per_core > 1))
    effective = np.minimum(busy, cores) + machine.smt_yield * np.maximum(busy - cores, 0)
    power: Floats = machine.package_active_w * (effective / most) ** machine.droop
    return power


def _noise(rng: np.random.Generator, shape: tuple[int, ...], relative: float) -> Floats:
    """Return factors about 1 that hold for a second each."""
    seconds = -(-shape[-1] // STEPS_PER_S)
    factors = 1 + relative * rng.standard_normal((*shape[:-1], seconds))
    held: Floats = np.repeat(factors, STEPS_PER_S, axis=-1)[..., : shape[-1]]
    return held


def _slow(power_w: Floats, machine: Machine) -> Floats:
    """Show power as a BMC does: late, averaged over a second, and in steps."""
    lag = round(machine.node_lag_s * STEPS_PER_S)
    seconds = power_w[: len(power_w) // STEPS_PER_S * STEPS_PER_S].reshape(-1, STEPS_PER_S).mean(axis=1)
    shown = np.repeat(np.round(seconds / machine.node_step_w) * machine.node_step_w, STEPS_PER_S)
    late: Floats = np.concatenate([np.full(lag, shown[0]), shown])[: len(power_w)]
    return np.pad(late, (0, len(power_w) - len(late)), mode="edge")
