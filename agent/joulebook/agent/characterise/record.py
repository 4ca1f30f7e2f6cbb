"""Read every meter fast while a load goes up and down, and say what each was found to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any, Protocol

from joulebook.agent.characterise.response import Course, changes_us, response, update_period_us
from joulebook.agent.meters.gpus import GpusMeter
from joulebook.agent.meters.offers import is_model
from joulebook.agent.source import ChangingSource, Domain, Source
from joulebook.v1 import report_pb2

# A sensor that changes each millisecond is as good as one that does each 5: no tick comes near it.
_STEP_US = 5_000
# A half of the wave is this many times the slowest sensor's period, within bounds.
_HALF_PERIODS = 4
_LEAST_HALF_US, _MOST_HALF_US = 3_000_000, 40_000_000
_FEWEST_EDGES = 6
_FEWEST_READINGS = 3
_GPUS_WAIT_S = 5.0


class Load(Protocol):
    """What goes up and down, and notes when."""

    rises_us: list[int]
    falls_us: list[int]

    @property
    def is_of_cpus(self) -> bool:
        """Say whether CPUs are what is loaded, and nothing else."""

    def turn(self, *, high: bool) -> None:
        """Go up or down."""


@dataclass(slots=True)
class _Recorded:
    domain: Domain
    times_us: list[int] = field(default_factory=list)
    energy_uj: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Meter:
    source: Source
    # None: nothing is read of what is only modelled.
    recorded: list[_Recorded | None]


class Recorder:
    """Reads the measured domains of meters; nothing is read of one that only models."""

    def __init__(
        self,
        meters: Sequence[tuple[Source, Sequence[Domain]]],
        clock: Callable[[], int],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._meters = [
            _Meter(meter, [None if is_model(domain) else _Recorded(domain) for domain in domains])
            for meter, domains in meters
            if not all(is_model(domain) for domain in domains)
        ]
        for one in self._meters:
            if isinstance(one.source, GpusMeter):
                # No tick waits here. What comes late is booked as of when it came, and would seem to change.
                one.source.wait_s = _GPUS_WAIT_S
        self._took_us: dict[str, list[float]] = {}

    @property
    def has_sensors(self) -> bool:
        """Say whether anything is measured at all."""
        return bool(self._meters)

    @property
    def half_us(self) -> int:
        """Return how long the load must stay up for the slowest sensor to follow."""
        slowest_us = max((one.domain.period_us for one in self._recorded()), default=0)
        return min(max(_HALF_PERIODS * slowest_us, _LEAST_HALF_US), _MOST_HALF_US)

    def run(self, load: Load, seconds: float, rng: Random | None = None) -> None:
        """Record for so long, but for some edges at least; the load goes up and down at uneven moments."""
        rng = rng or Random()
        half_us = self.half_us
        end_us = self._clock() + max(round(seconds * 1e6), (_FEWEST_EDGES + 1) * half_us * 4 // 3)
        high = False
        edge_us = self._clock() + half_us // 2
        while (now_us := self._clock()) < end_us:
            if now_us >= edge_us and now_us + half_us < end_us:
                high = not high
                load.turn(high=high)
                edge_us = self._clock() + half_us + rng.randrange(half_us // 3)
            self._read()
            self._sleep(max(0.0, (now_us + _STEP_US - self._clock()) / 1e6))

    def found(self, load: Load) -> list[dict[str, Any]]:
        """Return what each sensor was found to be, beside what is documented."""
        return [self._row(one, load) for one in self._recorded()]

    def _recorded(self) -> list[_Recorded]:
        return [one for meter in self._meters for one in meter.recorded if one is not None]

    def _read(self) -> None:
        for meter in self._meters:
            name, now_us = meter.source.name, self._clock()
            began_ns = time.perf_counter_ns()
            try:
                values = meter.source.read(now_us)
            except Exception:  # `doctor` says how it fails; here it is only missing
                continue
            self._took_us.setdefault(name, []).append((time.perf_counter_ns() - began_ns) / 1000)
            for place, one in enumerate(meter.recorded):
                if one is not None and 2 * place < len(values):
                    one.times_us.append(now_us)
                    one.energy_uj.append(values[2 * place])
            if isinstance(meter.source, ChangingSource) and (probe := meter.source.changed()) is not None:
                # A counter that is not believed any more is another sensor from then on.
                before = {one.domain: one for one in meter.recorded if one is not None}
                meter.recorded = [
                    None if is_model(domain) else before.get(domain) or _Recorded(domain)
                    for domain in probe.domains
                ]

    def _row(self, one: _Recorded, load: Load) -> dict[str, Any]:
        domain = one.domain
        row: dict[str, Any] = {
            "domain": domain.name,
            "source": domain.source,
            "documented_period_us": domain.period_us,
            "period_us": None,
            "window_us": None,
            "lag_us": None,
            "rise_mw": None,
            "read_us": round(median(self._took_us.get(domain.source, [0.0])), 1),
            "note": "",
        }
        is_counter = domain.kind == report_pb2.SOURCE_KIND_COUNTER
        course = Course(one.times_us, one.energy_uj)
        course = course if is_counter else course.begun()
        if len(course.times_us) < _FEWEST_READINGS:
            return row | {"note": "could not be read"}
        is_unloaded = load.is_of_cpus and domain.name.startswith("gpu.")
        rest = ["CPUs alone were loaded: load the GPU with --load CMD to learn more"] if is_unloaded else []
        if not changes_us(course, is_counter=is_counter):
            return row | {"note": "; ".join(["its value never changed: nothing can be told", *rest])}
        period_us = update_period_us(course, is_counter=is_counter)
        if period_us is None:
            return row | {"note": "changed too seldom to tell"}
        row["period_us"] = period_us
        notes = []
        if period_us < 2 * course.step_us:
            notes.append("as fast as it was read, or faster")
        follows = response(course, load.rises_us, load.falls_us, period_us, is_counter=is_counter)
        if follows is None and is_unloaded:
            notes += rest
        elif follows is None:
            notes.append("does not follow the CPU's load" if load.is_of_cpus else "does not follow the load")
        else:
            row |= {"lag_us": follows.lag_us, "rise_mw": follows.rise_mw}
            row["window_us"] = None if is_counter else follows.window_us
        return row | {"note": "; ".join(notes)}
