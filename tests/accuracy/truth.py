"""What each job truly cost, in each of the senses that tools mean, in J."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.accuracy.gpus import holders_w
from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.physics import Run
from tests.accuracy.scenario import Machine, Scenario

Floats = npt.NDArray[np.float64]

_STEP_S = 1 / STEPS_PER_S


def truths(scenario: Scenario, mix: Mix, run: Run) -> dict[str, Floats]:
    """Return J by job: "active cpu", "active" (with memory), "gpu" (all of it, with what is held) and "all".

    All energy is what a job caused, its part of the idle draw of what it held, and of the node's fans and
    losses as much as of the rest. The idle draw is nobody's doing: that it goes with what is held is a rule.
    """
    machine, jobs = scenario.machine, mix.jobs
    cpu = run.cpu_caused_w[:, :jobs].sum(axis=0) * _STEP_S
    active = cpu + run.memory_caused_w[:, :jobs].sum(axis=0) * _STEP_S
    threads = machine.packages * machine.cores_per_package * machine.threads_per_core
    alive_s = (mix.last - mix.first) * _STEP_S
    idle_w = mix.held / threads * machine.package_idle_w * machine.packages
    memory_held = mix.memory_bytes[:, :jobs].max(axis=0) / (machine.memory_gib * 2**30)
    gpu_w = run.gpus.caused_w.sum(axis=0) + holders_w(scenario.gpus, mix, run.gpus.held)
    gpu = gpu_w.sum(axis=0) * _STEP_S
    held_w = idle_w + memory_held * machine.memory_idle_w
    every = active + gpu + alive_s * held_w
    if run.node_w is not None:
        step = np.arange(len(gpu_w))[:, None]
        alive = (step >= mix.first) & (step < mix.last)
        own_w = (run.cpu_caused_w + run.memory_caused_w)[:, :jobs] + gpu_w + alive * held_w
        every = every + _beyond(scenario.machine, run, own_w)
    return {"active cpu": cpu, "active": active, "gpu": gpu, "all": every}


def _beyond(machine: Machine, run: Run, own_w: Floats) -> Floats:
    """Return each job's part of what the node draws beyond its parts, J; own_w is (steps, jobs)."""
    parts = run.package_w.sum(axis=0) + run.memory_w + run.gpus.power_w.sum(axis=0)
    beyond = machine.node_fans_w + machine.node_loss * parts
    shared: Floats = (own_w / parts[:, None] * beyond[:, None]).sum(axis=0) * _STEP_S
    return shared
