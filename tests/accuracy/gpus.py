"""GPUs under a seed: who holds them, who works on them when, and what their sensors see of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.accuracy.mix import STEPS_PER_S, Mix
from tests.accuracy.scenario import Gpus, Scenario

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GpuRun:
    """What GPUs do: powers in W, use as a part of a whole GPU.

    held is the part of each GPU that a job holds (gpus, jobs), works says which jobs have processes there
    (jobs), use is (gpus, steps, jobs), caused_w the same, power_w and shown_w (gpus, steps): what is drawn,
    and what the sensor makes of it. tells says whether the driver tells the use of processes.
    """

    held: Floats
    works: npt.NDArray[np.bool_]
    use: Floats
    caused_w: Floats
    power_w: Floats
    shown_w: Floats
    tells: bool

    @property
    def count(self) -> int:
        """Return how many GPUs there are."""
        return len(self.power_w)


def run_gpus(scenario: Scenario, mix: Mix, seed: int) -> GpuRun:
    """Draw what each job of a mix does on GPUs; the same scenario and seed give the same."""
    gpus = scenario.gpus
    rng = np.random.default_rng([seed, 4, *scenario.name.encode()])
    steps, jobs = len(mix.busy_cpus), mix.jobs
    held = _held(rng, gpus, mix)
    works = rng.random(jobs) >= gpus.idle
    use, caused = np.zeros((2, gpus.count, steps, jobs))
    for job in range(jobs):
        length = int(mix.last[job] - mix.first[job])
        level = _uniform(rng, gpus.busy) * works[job] * _steps(rng, gpus, length)
        use[:, mix.first[job] : mix.last[job], job] = held[:, job, None] * level
    # Who shares a GPU whole takes turns: together they are at most all of it.
    use /= np.maximum(use.sum(axis=2, keepdims=True), 1.0)
    caused[:] = gpus.active_w * use * rng.uniform(*gpus.intensity, jobs)
    power = (gpus.idle_w + caused.sum(axis=2)) * _noise(rng, scenario.machine.noise, gpus.count, steps)
    return GpuRun(held, works, use, caused, power, _shown(rng, gpus, power), gpus.how != "divided")


def holders_w(gpus: Gpus, mix: Mix, held: Floats) -> Floats:
    """Return what of the idle draw goes with what each job holds, W (steps, jobs).

    Holders of a whole GPU that is shared have equal parts; of a divided one each has its slices.
    """
    step = np.arange(len(mix.busy_cpus))[:, None]
    alive = (step >= mix.first) & (step < mix.last)
    idle = np.zeros((len(step), mix.jobs))
    for one in held:
        own = alive * one
        idle += gpus.idle_w * own / np.maximum(own.sum(axis=1, keepdims=True), 1.0)
    return idle


def _held(rng: np.random.Generator, gpus: Gpus, mix: Mix) -> Floats:
    """Give out GPUs or slices while there are any; one that is shared is everybody's."""
    held = np.zeros((gpus.count, mix.jobs))
    if not gpus.count:
        return held
    if gpus.how == "shared":
        held[np.arange(mix.jobs) % gpus.count, np.arange(mix.jobs)] = 1.0
        return held
    wanted = rng.integers(gpus.held[0], gpus.held[1] + 1, mix.jobs).tolist()
    if gpus.how == "exclusive":
        free = iter(range(gpus.count))
        for job, count in enumerate(wanted):
            held[[gpu for gpu, _ in zip(free, range(count), strict=False)], job] = 1.0
        return held
    left = np.full(gpus.count, gpus.slices)
    for job, count in enumerate(wanted):
        most = int(left.argmax())
        taken = min(count, int(left[most]))
        left[most] -= taken
        held[most, job] = taken / gpus.slices
    return held


def _steps(rng: np.random.Generator, gpus: Gpus, length: int) -> Floats:
    """Return 1 while a step of training works and 0 while it waits."""
    period = max(round(_uniform(rng, gpus.step_s) * STEPS_PER_S), 2)
    works = max(round(_uniform(rng, gpus.works) * period), 1)
    on: Floats = ((np.arange(length) + rng.integers(period)) % period < works).astype(np.float64)
    return on


def _shown(rng: np.random.Generator, gpus: Gpus, power_w: Floats) -> Floats:
    """Show power as the sensor does: the mean of the window in each of its periods, for all of the period."""
    if not gpus.count:
        return power_w
    period = max(round(gpus.sensor_period_s * STEPS_PER_S), 1)
    window = gpus.sensor_window_s * STEPS_PER_S
    # What each step of a period counts for: a window may end within one.
    part = np.clip(window - np.arange(period), 0.0, 1.0)
    begins = int(rng.integers(period))
    padded = np.pad(power_w, ((0, 0), (begins, -(power_w.shape[1] + begins) % period)), mode="edge")
    seen = padded.reshape(len(power_w), -1, period) @ (part / part.sum())
    shown: Floats = np.repeat(seen, period, axis=1)[:, begins : begins + power_w.shape[1]]
    return shown


def _noise(rng: np.random.Generator, relative: float, gpus: int, steps: int) -> Floats:
    factors = 1 + relative * rng.standard_normal((gpus, -(-steps // STEPS_PER_S)))
    held: Floats = np.repeat(factors, STEPS_PER_S, axis=1)[:, :steps]
    return held


def _uniform(rng: np.random.Generator, span: tuple[float, float]) -> float:
    return float(rng.uniform(*span))
