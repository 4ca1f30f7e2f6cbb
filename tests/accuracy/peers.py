"""What others would say that a job cost: their published formulas on the same ticks.

T is CPU time, M memory, u a job, E energy in an interval. Each returns J by job. Some mean all energy, with a
part of the idle machine's; some only what is active: FORMULAS says which, and each is judged by the truth it
means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.physics import Run
from tests.accuracy.scenario import Scenario
from tests.accuracy.telemetry import Ticks

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """Ticks as differences: E in J (packages or GPUs, ticks), T in s and M in bytes (jobs, ticks).

    gpu_held is the part of each GPU that a job holds (gpus, jobs), on_package says where it runs (packages,
    jobs).
    """

    package_j: Floats
    package_floor_j: Floats
    memory_j: Floats
    node_j: Floats
    job_s: Floats
    busy_s: Floats
    capacity_s: Floats
    job_bytes: Floats
    used_bytes: Floats
    there: Floats
    gpu_j: Floats
    gpu_held: Floats
    on_package: npt.NDArray[np.bool_]
    package_busy_s: Floats


def seen(scenario: Scenario, mix: Mix, run: Run, ticks: Ticks) -> Seen:
    """Return what any tool that polls as often could know."""
    jobs = len(ticks.seen)
    machine = scenario.machine
    interval_s = np.diff(ticks.steps) / STEPS_PER_S
    there = np.zeros((jobs, len(interval_s)))
    for job, (first, last) in enumerate(ticks.seen):
        there[job, first:last] = 1
    packages = [name for name in ticks.energy_uj if name.startswith("cpu.")]
    package_j = np.stack([np.diff(ticks.energy_uj[name]) for name in packages]) / 1e6
    gpu_uj = [np.diff(energy) for name, energy in ticks.energy_uj.items() if name.startswith("gpu.")]
    gpu_j = np.array(gpu_uj).reshape(-1, len(interval_s)) / 1e6
    memory_j = np.diff(ticks.energy_uj["memory.0"]) / 1e6
    whole = (
        np.diff(ticks.energy_uj["node"]) / 1e6
        if "node" in ticks.energy_uj
        else package_j.sum(axis=0) + memory_j + gpu_j.sum(axis=0)
    )
    return Seen(
        package_j=package_j,
        package_floor_j=np.stack([ticks.floor_mw[name][1:] for name in packages]) / 1e3 * interval_s,
        memory_j=memory_j,
        node_j=whole,
        job_s=np.diff(ticks.cpu_us[:jobs], axis=1) / 1e6 * there,
        busy_s=np.maximum(np.diff(ticks.busy_us) / 1e6, 1e-9),
        capacity_s=interval_s * machine.packages * machine.cores_per_package * machine.threads_per_core,
        job_bytes=ticks.memory_bytes[:jobs, 1:] * there,
        used_bytes=np.maximum(ticks.memory_used_bytes[1:], 1).astype(np.float64),
        there=there,
        gpu_j=gpu_j,
        gpu_held=run.gpus.held,
        on_package=mix.package == np.arange(len(packages))[:, None],
        package_busy_s=np.maximum(np.diff(ticks.package_busy_us) / 1e6, 1e-9),
    )


def whole_node(t: Seen) -> Floats:
    """Slurm's energy accounting, Omnistat: E_u = E_node for every job on it."""
    return _total(t.there * t.node_j)


def scaphandre(t: Seen) -> Floats:
    """E_u = E_host · T_u / (interval · cores)."""
    return _total((t.package_j.sum(axis=0) + t.memory_j) * t.job_s / t.capacity_s)


def kepler(t: Seen) -> Floats:
    """Kepler from 0.10 on: active = E · busy / total; E_u = active · T_u / T_busy."""
    active = (t.package_j.sum(axis=0) + t.memory_j) * t.busy_s / t.capacity_s
    return _total(active * t.job_s / t.busy_s)


def ceems_rapl(t: Seen) -> Floats:
    """E_u = E_package · T_u / T_busy + E_dram · M_u / M_used, and GPUs by allocation."""
    host_j = t.package_j.sum(axis=0) * t.job_s / t.busy_s + t.memory_j * t.job_bytes / t.used_bytes
    return _total(host_j) + allocated_gpu(t)


def ceems_bmc(t: Seen) -> Floats:
    """0.9 E (ρ T_u/T_busy + (1 − ρ) M_u/M_used) + 0.1 E / N, ρ = package / (package + dram), N jobs.

    E is the node's without its GPUs, which go by allocation.
    """
    host_j = t.node_j - t.gpu_j.sum(axis=0)
    package = t.package_j.sum(axis=0)
    rho = package / np.maximum(package + t.memory_j, 1e-9)
    count = np.maximum(t.there.sum(axis=0), 1)
    by_use = rho * t.job_s / t.busy_s + (1 - rho) * t.job_bytes / t.used_bytes
    return _total(0.9 * host_j * by_use + 0.1 * host_j / count * t.there) + allocated_gpu(t)


def energat(t: Seen) -> Floats:
    """(E − E_static) · (T_u/T)^0.3 by socket, and DRAM by (M_u/M)^0.2; does not add up to the whole."""
    active = np.maximum(t.package_j - t.package_floor_j, 0)
    share = t.job_s * t.on_package[:, :, None] / t.package_busy_s[:, None]
    of_packages = (active[:, None] * share**0.3).sum(axis=0)
    return _total(of_packages + t.memory_j * (t.job_bytes / t.used_bytes) ** 0.2)


def ear(t: Seen) -> Floats:
    """(E_dc − E_gpu) · P̂_u / Σ P̂ + E_gpu; without hardware counters P̂ is the CPU time."""
    host_j = t.node_j - t.gpu_j.sum(axis=0)
    return _total(host_j * t.job_s / np.maximum(t.job_s.sum(axis=0), 1e-9)) + whole_gpu(t)


def cpu_time(t: Seen) -> Floats:
    """Active package energy by CPU time: (E − E_idle) · T_u / T_busy."""
    active = np.maximum(t.package_j - t.package_floor_j, 0).sum(axis=0)
    return _total(active * t.job_s / t.busy_s)


def whole_gpu(t: Seen) -> Floats:
    """DCGM exporter's jobs, EAR's E_gpu: all that a GPU draws, for every job that holds some of it."""
    return _total(t.there * ((t.gpu_held > 0).T @ t.gpu_j))


def allocated_gpu(t: Seen) -> Floats:
    """Each GPU's energy by what jobs hold of it: E · h_u / Σ h of those that are there."""
    held = t.gpu_held[:, :, None] * t.there
    return _total((held / np.maximum(held.sum(axis=1, keepdims=True), 1e-9) * t.gpu_j[:, None]).sum(axis=0))


def _total(energy_j: Floats) -> Floats:
    summed: Floats = energy_j.sum(axis=1)
    return summed


# What each means by a job's energy: "all" with idle, "active" without, of processors alone or with memory;
# "gpu" of GPUs alone, with idle.
FORMULAS: dict[str, tuple[Callable[[Seen], Floats], str]] = {
    "whole node": (whole_node, "all"),
    "Scaphandre": (scaphandre, "all"),
    "Kepler": (kepler, "active"),
    "CEEMS, RAPL": (ceems_rapl, "all"),
    "CEEMS, BMC": (ceems_bmc, "all"),
    "EnergAt": (energat, "active"),
    "EAR": (ear, "all"),
    "CPU time": (cpu_time, "active cpu"),
    "whole GPU": (whole_gpu, "gpu"),
    "GPU by allocation": (allocated_gpu, "gpu"),
}
