"""Read AMD's GPUs by the kernel's files: energy as domains gpu.N, and how they fare as devices so called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from joulebook.agent.aside import Aside, Pending
from joulebook.agent.meters.amd_found import FIX_LOG, Found, MeteredAmdGpu, listed
from joulebook.agent.meters.amd_gpu import AmdGpu, Reading
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import SUSPECT, UNREADABLE, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts

# A tick may not wait longer than 5 ms for all GPUs together. A start may.
_WAIT_S = 0.004
_START_S = 10.0
# How often it is looked whether GPUs came or went: the driver was loaded, one was plugged in or is back.
_LOOK_US = 30_000_000

FACTS = SourceFacts(
    name="amdgpu",
    what=(
        "energy of AMD's GPUs (`gpu.N`); as devices of the same name power, limits, utilisation, memory, "
        "clocks, temperatures, throttling, PCIe, xGMI and memory errors"
    ),
    where="`gpu_metrics` (v1.0 to v1.8, v2.1 to v2.4, v3.0), hwmon, `mem_info_*` and `ras` of the device",
    unit="2^-16 J counter (MI200 and later), else µW integrated",
    period="1 ms; without a counter as the sensor averages",
    accuracy="±5 %; a counter that goes apart from the power is not believed any more",
    privilege="none",
    cost="29 µs a GPU (files of a fixture), plus what the firmware takes; waited for at most 5 ms",
    documentation="Documentation/gpu/amdgpu/thermal.rst; drivers/gpu/drm/amd/include/kgd_pp_interface.h",
)


class AmdGpuMeter:
    """Read every discrete AMD GPU. One whose firmware hangs takes nothing from the others."""

    name = "amdgpu"

    def __init__(self, roots: Roots, wait_s: float = _WAIT_S, start_s: float = _START_S) -> None:
        self.wait_s = wait_s
        self._start_s = start_s
        self._roots = roots
        self._aside: Aside | None = None
        self._finding: Pending[Found] | None = None
        self._found: Found | None = None
        # All GPUs that were ever found, so that their energy goes on whatever comes between.
        self._known: dict[Path, MeteredAmdGpu] = {}
        self._told = Probe()
        self._listed: frozenset[Path] = frozenset()
        self._look_us = -1
        self._has_changed = False

    @property
    def gpus(self) -> tuple[AmdGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU that has a power sensor of its own; firmware that hangs is waited for, so long."""
        self._listed = listed(self._roots)
        finding = self._begin_look()
        finding.wait(self._start_s)
        if not self._take_look():
            error = finding.blocked()
            self._told = Probe(findings=(Finding(self.name, UNREADABLE, str(error), error.fix),))
        return self._told

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each GPU, then the gauges of each."""
        self._look(now_us)
        found = self._found
        if found is None or not found.meters:
            return ()
        moment = Moment(now_us)
        found.rows.ask(lambda meter: meter.ask(moment), self.wait_s)
        values: list[int] = []
        gauges: list[int] = []
        for meter in found.meters:
            self._settle(found, meter, now_us)
            values += (meter.energy.energy_uj, meter.energy.unread_us)
            gauges += meter.gpu.gauges
        return values + gauges

    def changed(self) -> Probe | None:
        """Return what there is now, where GPUs came or went, or a counter is not believed any more."""
        before = self._told
        if self._take_look() and self._told != before:
            return self._told
        if not self._has_changed or self._found is None:
            return None
        self._has_changed, self._told = False, self._found.probe()
        # The rest was said.
        return replace(self._told, findings=tuple(f for f in self._told.findings if f.state == SUSPECT))

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for meter in self._meters for finding in meter.health.finding())

    def is_waiting(self) -> bool:
        """Say whether a GPU has not answered yet, and may."""
        return any(meter.is_waiting for meter in self._meters)

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(meter.energy.offset_uj for meter in self._meters)

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return tuple(meter.energy.variance_nj2 for meter in self._meters)

    def close(self) -> None:
        """Give the descriptors back."""
        if self._aside is not None:
            self._aside.close()
        if self._found is not None:
            self._found.close()
        self._aside = self._finding = self._found = None

    @property
    def _meters(self) -> list[MeteredAmdGpu]:
        return self._found.meters if self._found is not None else []

    def _begin_look(self) -> Pending[Found]:
        if self._finding is None:
            self._aside = Aside(f"{self.name}.look")
            self._finding = self._aside.begin(lambda: Found(self._roots, self._known))
        return self._finding

    def _take_look(self) -> bool:
        """Take what a look found, in place of what was there; say whether there was something to take."""
        if self._finding is None or self._aside is None or not self._finding.done:
            return False
        finding, self._finding = self._finding, None
        self._aside.close()
        before, self._found = self._found, finding.result(0)
        if before is not None:
            before.close()
        self._known |= self._found.known
        self._told = self._found.probe()
        return True

    def _look(self, now_us: int) -> None:
        """Have it looked again where chips came or went, or one cannot be read: its files may be new ones."""
        if self._look_us < 0:
            self._look_us = now_us
        if now_us - self._look_us < _LOOK_US or self._finding is not None:
            return
        # Where the firmware hangs, another look would too.
        if self._found is not None and self._found.rows.hang:
            return
        self._look_us = now_us
        before, self._listed = self._listed, listed(self._roots)
        if before != self._listed or any(meter.energy.booked.missing for meter in self._meters):
            self._begin_look()

    def _settle(self, found: Found, meter: MeteredAmdGpu, now_us: int) -> None:
        """Take what came. Until a late answer comes, what was shown stands; it counts at the time it came."""
        hangs = not meter.came and found.rows.hangs(meter)
        meter.is_waiting = not meter.came and not hangs
        if hangs:
            self._take(meter, found.rows.blocked(meter), now_us)
        if meter.is_waiting and meter.energy.counter is not None:
            meter.energy.counter.begin(now_us)
        while meter.came:
            answer, asked_us, came_us = meter.came.popleft()
            at_us = now_us if asked_us == now_us else min(came_us, now_us)
            self._take(meter, answer, max(at_us, meter.energy.power.now_us))

    def _take(self, meter: MeteredAmdGpu, answer: Reading | OSError | ValueError, now_us: int) -> None:
        energy, health = meter.energy, meter.health
        if isinstance(answer, Reading):
            was_counter = energy.counter is not None
            energy.update(answer.counted_uj, answer.power_mw, now_us)
            if was_counter and energy.counter is None:
                self._has_changed = True
                health.counter = energy.booked
        else:
            energy.miss(now_us)
            health.error, health.fix = str(answer), getattr(answer, "fix", FIX_LOG)
