"""What a node's hardware counts, a meter that reads it, and jobs that come and go: all of it known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import Domain, Finding, Probe, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.simulation.disk_use import DiskUsers

LIMIT_MW = 400_000
_MODEL_MW = 4_000
COUNTER = report_pb2.SOURCE_KIND_COUNTER
MODEL = report_pb2.SOURCE_KIND_MODEL
_SOURCE = "simulated"


@dataclass(frozen=True, slots=True)
class Part:
    """A domain of a node: its name, whether hardware counts it, and where the counter wraps."""

    name: str
    counted: bool
    range_uj: int


class Hardware:
    """Counters of one boot; they run on whether anybody looks or not."""

    def __init__(self, parts: Sequence[Part], rng: Random) -> None:
        self.parts = parts
        self._rng = rng
        self._at_us = 0
        self.delivered_uj = {part.name: 0 for part in parts}
        self._base_uj = {part.name: rng.randrange(part.range_uj) for part in parts if part.range_uj}

    def advance(self, now_us: int) -> None:
        """Let energy be drawn up to a moment: of a node with a meter of its own, at least its parts'."""
        elapsed_us, self._at_us = now_us - self._at_us, max(self._at_us, now_us)
        if elapsed_us <= 0:
            return
        inside = 0
        for part in self.parts:
            if part.counted and part.name != "node":
                # mW · µs are nJ; the parts together stay below the node's limit.
                drawn = self._rng.randrange(elapsed_us * LIMIT_MW // 4000 + 1)
                self.delivered_uj[part.name] += drawn
                inside += drawn
        if "node" in self.delivered_uj:
            # What is modelled is drawn inside of the node too.
            models = sum(not part.counted for part in self.parts)
            modelled = (elapsed_us * _MODEL_MW // 1000 + 2) * max(models, 1)
            self.delivered_uj["node"] += (
                inside + modelled + self._rng.randrange(elapsed_us * LIMIT_MW // 4000)
            )

    def raw_uj(self, part: Part) -> int:
        """Return what a counter shows."""
        return (self._base_uj[part.name] + self.delivered_uj[part.name]) % part.range_uj


class Meter:
    """Reads the hardware as the agent's meters do, by the same arithmetic; one for each life of an agent."""

    name = "rapl"

    def __init__(self, hardware: Hardware, rng: Random, disk_rng: Random) -> None:
        self._hardware, self._rng, self._disk_rng = hardware, rng, disk_rng
        self._counters: list[EnergyCounter | PowerIntegral] = [
            EnergyCounter(part.range_uj, LIMIT_MW) if part.counted else PowerIntegral(LIMIT_MW)
            for part in hardware.parts
        ]
        # What each domain had delivered at each reading, by the boot clock.
        self.readings: dict[int, tuple[int, ...]] = {}

    def probe(self) -> Probe:
        """Return the domains."""
        domains = [
            Domain(
                part.name,
                _SOURCE,
                COUNTER if part.counted else MODEL,
                1,
                1000,
                30_000 if part.counted else 300_000,
                part.range_uj,
                LIMIT_MW,
                idle_power_mw=1000,
            )
            for part in self._hardware.parts
        ]
        return Probe(series=energy_series(domain.name for domain in domains), domains=tuple(domains))

    def read(self, now_us: int) -> list[int]:
        """Return energy and unread time of each domain."""
        self._hardware.advance(now_us)
        row, delivered = [], []
        for part, counter in zip(self._hardware.parts, self._counters, strict=True):
            counted = isinstance(counter, EnergyCounter)
            rng = self._disk_rng if part.name.startswith("disk.") else self._rng
            counter.update(self._hardware.raw_uj(part) if counted else rng.randrange(_MODEL_MW), now_us)
            row += [counter.energy_uj, counter.unread_us]
            # A model delivers what it says: nothing else knows.
            delivered.append(self._hardware.delivered_uj[part.name] if counted else counter.energy_uj)
        self.readings[now_us] = tuple(delivered)
        return row

    def findings(self) -> tuple[Finding, ...]:
        """Return nothing: every reading is good."""
        return ()

    def offsets_uj(self) -> tuple[int, ...]:
        """Return what the series are ahead of the hardware."""
        return tuple(counter.offset_uj for counter in self._counters)

    def close(self) -> None:
        """Hold nothing."""


class Usage:
    """Counts the node's CPU time."""

    name = "cpu"

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._busy_us = 0

    def probe(self) -> Probe:
        """Return the series."""
        return Probe(series=(Series(m.METRIC_NODE_CPU_BUSY),))

    def read(self, now_us: int) -> list[int]:
        """Return the CPU time."""
        del now_us
        self._busy_us += self._rng.randrange(8_000_000)
        return [self._busy_us]

    def close(self) -> None:
        """Hold nothing."""


class Jobs:
    """Jobs that come and go, as the sampler knows workloads."""

    def __init__(self, rng: Random, changes: float, users: DiskUsers) -> None:
        self._rng, self._changes, self._users = rng, changes, users
        self._names = [f"slurm.{rng.randrange(40)}"]
        self._gone: list[str] = []
        self._cpu_us: dict[str, int] = {}
        # Use of ended jobs that was split by a guess: none.
        self.unsure_us = 0
        self.workloads: tuple[Workload, ...] = ()
        self.series: tuple[Series, ...] = ()
        self.blocks: list[tuple[Series, ...]] = []
        self.pair_series: tuple[Series, ...] = ()
        self._arrange()

    def _arrange(self) -> None:
        self.workloads = tuple(Workload(name, report_pb2.WORKLOAD_KIND_JOB, "slurm") for name in self._names)
        metrics = (m.METRIC_WORKLOAD_CPU, *([m.METRIC_WORKLOAD_IO] if self._users.tells else []))
        self.blocks = [tuple(Series(one, workload=name) for one in metrics) for name in self._names]
        self._users.keep(self._names)
        self._take_pairs()

    def _take_pairs(self) -> None:
        self.pair_series = self._users.series
        self.series = (*chain.from_iterable(self.blocks), *self.pair_series)

    def refresh(self, now_us: int) -> bool:
        """Look who is there; return whether that changed."""
        del now_us
        if self._rng.random() >= self._changes:
            return False
        if self._names and self._rng.random() < 0.5:
            self._gone.append(self._names.pop(self._rng.randrange(len(self._names))))
        else:
            name = f"slurm.{self._rng.randrange(40)}"
            if name not in self._names:
                self._names.append(name)
        self._arrange()
        return True

    def baseline(self) -> list[int]:
        """Return the readings at which the present series begin."""
        for name in self._names:
            self._cpu_us.setdefault(name, 0)
        return self.values()

    def read(self, now_us: int) -> list[int]:
        """Return each job's CPU time, and what it moved."""
        del now_us
        for name in self._names:
            self._cpu_us[name] = self._cpu_us.get(name, 0) + self._rng.randrange(4_000_000)
        self._users.move(self._names)
        return self.values()

    def values(self) -> list[int]:
        """Return each job's CPU time, and what it moved, as they were read last."""
        of_jobs: list[int] = []
        for name in self._names:
            of_jobs.append(self._cpu_us[name])
            if self._users.tells:
                of_jobs.append(self._users.io_bytes[name])
        return of_jobs + self._users.values()

    def first_moved(self) -> list[tuple[int, int]]:
        """Return who used a disk for the first time."""
        came = self._users.first_moved()
        self._take_pairs()
        return came

    def know_domains(self, names: frozenset[str]) -> None:
        """Have nothing to tell of them."""

    def ended(self) -> list[tuple[str, int, int]]:
        """Return the jobs that ended."""
        gone, self._gone = self._gone, []
        return [(name, 0, 0) for name in gone]
