"""A scenario: a kind of machine, the jobs on it, and how well it is watched. One TOML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

SCENARIOS = Path(__file__).with_name("scenarios")
Span = tuple[float, float]


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The physics of a node; powers in W."""

    packages: int = 2
    cores_per_package: int = 32
    threads_per_core: int = 2
    # A package with nothing to do, and with every thread busy at intensity 1, beyond that.
    package_idle_w: float = 60.0
    package_active_w: float = 180.0
    # Below 1 the next core is cheaper than the first: clocks fall as more cores are busy.
    droop: float = 0.85
    # What a core's second thread adds, of its first.
    smt_yield: float = 0.3
    memory_gib: float = 256.0
    memory_idle_w: float = 12.0
    memory_w_per_gb_s: float = 0.35
    # Relative noise of each tick's energy.
    noise: float = 0.02
    # Meters are off for good by what 95 % of their kind may be off, times this.
    miscalibration: float = 1.0
    # A meter of the whole node: what it reads beyond the parts, its lag, and its steps. 0 W: there is none.
    node_fans_w: float = 0.0
    node_loss: float = 0.06
    node_lag_s: float = 3.0
    node_step_w: float = 4.0
    # Counters of packages begin again at 0 after that much; 0: they do not.
    counter_range_j: float = 0.0


class Gpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node's GPUs and how jobs have them; powers in W."""

    count: int = 0
    idle_w: float = 70.0
    # At full use and an intensity of 1, beyond that.
    active_w: float = 430.0
    # Exclusive: whole GPUs. Shared: all jobs on one GPU take turns. Divided: slices (MIG), and no driver
    # tells who of a divided one is how busy.
    how: Literal["exclusive", "shared", "divided"] = "exclusive"
    slices: int = 7
    # GPUs, or slices of one, that a job holds.
    held: tuple[int, int] = (1, 2)
    # Jobs that hold what they never use.
    idle: float = 0.25
    busy: Span = (0.3, 1.0)
    intensity: Span = (0.6, 1.4)
    # A step of training: it works for a part of it, then waits.
    step_s: Span = (0.1, 3.0)
    works: Span = (0.4, 1.0)
    # What a sensor sees of each of its periods: all, or 25 ms of 100.
    sensor_period_s: float = 0.1
    sensor_window_s: float = 0.1


class Jobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ranges that jobs are drawn from."""

    count: tuple[int, int] = (2, 6)
    length_s: Span = (600.0, 1200.0)
    # Logical CPUs that a job holds, how busy it keeps them, and what a busy one draws beside the mean.
    cpus: tuple[int, int] = (4, 24)
    busy: Span = (0.5, 1.0)
    # How much that moves from second to second, of itself.
    jitter: float = 0.05
    intensity: Span = (0.6, 1.6)
    # Phases change how busy a job is and how hard it drives cores and memory; 0: it is steady.
    phase_s: Span = (30.0, 300.0)
    phase_depth: float = 0.6
    memory_gib: Span = (4.0, 32.0)
    bandwidth_gb_s: Span = (0.0, 20.0)


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the node is watched."""

    tick_s: float = 1.0
    # Ticks at the moments when jobs begin and end, or so much later. Without them a job's first and last
    # intervals are those of the ticks about its ends.
    edges: bool = False
    late_s: float = 0.0
    # Jobs have cpusets, which tell the packages that they are on.
    cpusets: bool = True
    lost_reports: float = 0.0
    # Ticks that came so late that the next one was due.
    missed_ticks: float = 0.0
    # How often the agent is started again; it is away for so long.
    restarts: int = 0
    away_s: float = 3.0
    # By how much the wall clock is set, back or forth, between Reports.
    clock_steps_s: float = 0.0


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file."""

    name: str
    help: str
    mixes: int = 60
    # Whether jobs differ for so long that it can be told: then settled books are to be better than the peers.
    varies: bool = True
    # The mean error that settled books may have, %.
    target: float = 5.0
    duration_s: float = 1800.0
    machine: Machine = Machine()
    gpus: Gpus = Gpus()
    jobs: Jobs = Jobs()
    watch: Watch = Watch()


def load(directory: Path = SCENARIOS) -> list[Scenario]:
    """Read every scenario of a directory. ValueError names the file and what is wrong in it."""
    found = []
    for path in sorted(directory.glob("*.toml")):
        try:
            found.append(msgspec.toml.decode(path.read_bytes(), type=Scenario))
        except msgspec.DecodeError as error:
            raise ValueError(f"scenario {path}: {error}") from error
    if not found:
        raise ValueError(f"scenarios {directory}: expected at least one .toml file")
    return found
