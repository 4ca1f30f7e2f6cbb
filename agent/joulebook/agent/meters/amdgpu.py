"""Read AMD's GPUs: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from joulebook.agent.meters.amd_gpu import AmdGpu, Reading
from joulebook.agent.meters.amd_processes import Processes
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.hwmon_sensors import choose
from joulebook.agent.meters.paired import PairedEnergy
from joulebook.agent.meters.row import Moment, Rows
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import (
    ABSENT,
    SUSPECT,
    UNREADABLE,
    WORKING,
    Device,
    Domain,
    Finding,
    Probe,
    Roots,
    Series,
)
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import report_pb2

_COUNTER_RESOLUTION_UJ = 16
_PERIOD_US = 1000
_POWER_PERIOD_US = 1_000_000
_ACCURACY_PPM = 50_000
_LEAST_LIMIT_MW = 1_000_000
# A tick may not wait longer than 5 ms for all GPUs together.
_WAIT_S = 0.004
_FIX_LOG = "look for amdgpu lines in the kernel's log"

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


class _Meter:
    """A GPU, what is booked of it, and what came of the last look."""

    def __init__(self, gpu: AmdGpu, energy: PairedEnergy) -> None:
        self.gpu = gpu
        self.energy = energy
        self.health = Health(f"amdgpu:{gpu.domain}", gpu.domain, energy.booked)
        self.is_waiting = False
        # What looks gave, the ticks that asked, and when they came on that clock.
        self.came: deque[tuple[Reading | OSError | ValueError, int, int]] = deque()

    def ask(self, moment: Moment) -> None:
        """Look, in the thread that may hang."""
        try:
            answer: Reading | OSError | ValueError = self.gpu.look(moment.now_us)
        except (OSError, ValueError) as error:
            answer = error
        self.came.append((answer, moment.now_us, moment.us()))


class AmdGpuMeter:
    """Read every discrete AMD GPU. One whose firmware hangs takes nothing from the others."""

    name = "amdgpu"

    def __init__(self, roots: Roots, wait_s: float = _WAIT_S) -> None:
        self.wait_s = wait_s
        self._directory = roots.sysfs / "class/hwmon"
        self._processes = Processes(roots.sysfs)
        self._meters: list[_Meter] = []
        self._rows: Rows[_Meter] = Rows(self.name, ())
        self._has_changed = False

    @property
    def gpus(self) -> tuple[AmdGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU that has a power sensor of its own."""
        known = {meter.gpu.device: meter.energy for meter in self._meters}
        self.close()
        sensors = {
            domain: sensor
            for domain, sensor in choose(self._directory, frozenset())[0].items()
            if sensor.chip == "amdgpu"
        }
        findings = []
        for domain, sensor in sorted(sensors.items(), key=lambda item: int(item[0].partition(".")[2])):
            try:
                gpu = AmdGpu(domain, sensor)
            except (OSError, ValueError) as error:
                findings.append(
                    Finding(f"amdgpu:{domain}", UNREADABLE, f"{sensor.path.name}: {error}", _FIX_LOG)
                )
                continue
            limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
            energy = known.get(gpu.device) or PairedEnergy(limit_mw, has_counter=gpu.has_counter)
            self._meters.append(_Meter(gpu, energy))
            if gpu.table_trouble:
                findings.append(Finding(f"amdgpu:{domain}.table", UNREADABLE, gpu.table_trouble, _FIX_LOG))
            if gpu.modes:
                findings.append(Finding(f"amdgpu:{domain}.partitions", WORKING, gpu.modes))
        self._rows = Rows(self.name, self._meters)
        self._processes.know(self.gpus)
        findings.insert(
            0, Finding(self.name, WORKING if sensors else ABSENT, "" if sensors else "no AMD GPU")
        )
        return self._found(tuple(findings))

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each GPU, then the gauges of each."""
        if not self._meters:
            return ()
        moment = Moment(now_us)
        self._rows.ask(lambda meter: meter.ask(moment), self.wait_s)
        values: list[int] = []
        gauges: list[int] = []
        for meter in self._meters:
            self._settle(meter, now_us)
            values += (meter.energy.energy_uj, meter.energy.unread_us)
            gauges += meter.gpu.gauges
        return values + gauges

    def changed(self) -> Probe | None:
        """Return the domains anew where a counter is not believed any more."""
        has_changed, self._has_changed = self._has_changed, False
        return self._found(()) if has_changed else None

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
        # A descriptor that a thread hangs in stays open until the agent ends.
        if self._rows.close():
            for meter in self._meters:
                meter.gpu.close()
        self._meters = []
        self._rows = Rows(self.name, ())

    def _settle(self, meter: _Meter, now_us: int) -> None:
        """Take what came. Until a late answer comes, what was shown stands; it counts at the time it came."""
        hangs = not meter.came and self._rows.hangs(meter)
        meter.is_waiting = not meter.came and not hangs
        if hangs:
            self._take(meter, self._rows.blocked(meter), now_us)
        if meter.is_waiting and meter.energy.counter is not None:
            meter.energy.counter.begin(now_us)
        while meter.came:
            answer, asked_us, came_us = meter.came.popleft()
            at_us = now_us if asked_us == now_us else min(came_us, now_us)
            self._take(meter, answer, max(at_us, meter.energy.power.now_us))

    def _take(self, meter: _Meter, answer: Reading | OSError | ValueError, now_us: int) -> None:
        energy, health = meter.energy, meter.health
        if isinstance(answer, Reading):
            was_counter = energy.counter is not None
            energy.update(answer.counted_uj, answer.power_mw, now_us)
            if was_counter and energy.counter is None:
                self._has_changed = True
                health.counter = energy.booked
        else:
            energy.miss(now_us)
            health.error, health.fix = str(answer), getattr(answer, "fix", _FIX_LOG)

    def _found(self, findings: tuple[Finding, ...]) -> Probe:
        return Probe(
            series=energy_series(meter.gpu.domain for meter in self._meters)
            + tuple(
                Series(metric, device=meter.gpu.domain)
                for meter in self._meters
                for metric in meter.gpu.metrics
            ),
            domains=tuple(_domain(meter) for meter in self._meters),
            devices=tuple(
                Device(
                    meter.gpu.domain,
                    report_pb2.DEVICE_KIND_GPU,
                    size_bytes=meter.gpu.size_bytes,
                    power_limit_mw=meter.gpu.limit_mw,
                    uuid=meter.gpu.uuid,
                    model=meter.gpu.model,
                )
                for meter in self._meters
            ),
            findings=findings
            + tuple(
                Finding(f"amdgpu:{meter.gpu.domain}.counter", SUSPECT, meter.energy.distrust)
                for meter in self._meters
                if meter.energy.distrust
            ),
        )


def _domain(meter: _Meter) -> Domain:
    is_counter = meter.energy.counter is not None
    return Domain(
        name=meter.gpu.domain,
        source="amdgpu",
        kind=report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_AVERAGE_POWER,
        # A gauge's step of 1 mW, held for a period.
        resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else _POWER_PERIOD_US // 1000,
        period_us=_PERIOD_US if is_counter else _POWER_PERIOD_US,
        accuracy_ppm=_ACCURACY_PPM,
        limit_mw=meter.energy.power.limit_mw,
    )
