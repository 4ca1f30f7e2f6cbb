"""Every discrete AMD GPU that the kernel shows, and what is booked of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

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
from joulebook.v1 import report_pb2

_NAME = "amdgpu"
_COUNTER_RESOLUTION_UJ = 16
_PERIOD_US = 1000
_POWER_PERIOD_US = 1_000_000
_ACCURACY_PPM = 50_000
_LEAST_LIMIT_MW = 1_000_000
FIX_LOG = "look for amdgpu lines in the kernel's log"

# The GPUs that were found before, by their directory: their energy goes on, and their names.
Known = Mapping[Path, "MeteredAmdGpu"]


def listed(roots: Roots) -> frozenset[Path]:
    """Return the chips with sensors that the kernel lists: GPUs that come and go are among them."""
    try:
        return frozenset(each.resolve() for each in (roots.sysfs / "class/hwmon").iterdir())
    except OSError:
        return frozenset()


class MeteredAmdGpu:
    """A GPU, what is booked of it, and what came of the last look."""

    def __init__(self, gpu: AmdGpu, before: MeteredAmdGpu | None) -> None:
        """Go on from before, where it was known."""
        self.gpu = gpu
        self.energy: PairedEnergy
        self.health: Health
        if before is not None and (before.energy.counter is None or gpu.has_counter):
            # What was said of it stands until something else is to be said.
            self.energy, self.health = before.energy, before.health
        else:
            limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
            self.energy = PairedEnergy(limit_mw, has_counter=gpu.has_counter)
            self.health = Health(f"{_NAME}:{gpu.domain}", gpu.domain, self.energy.booked)
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


class Found:
    """What there is. Takes as long as the firmware does."""

    def __init__(self, roots: Roots, known: Known) -> None:
        self.meters: list[MeteredAmdGpu] = []
        sensors = {
            domain: sensor
            for domain, sensor in choose(roots.sysfs / "class/hwmon", frozenset())[0].items()
            if sensor.chip == _NAME
        }
        self._findings = [
            Finding(_NAME, WORKING if sensors else ABSENT, "" if sensors else "no AMD GPU"),
        ]
        # Whoever was found before keeps its name, whatever else comes or goes.
        taken = {meter.gpu.domain for meter in known.values()}
        for told, sensor in sorted(sensors.items(), key=lambda item: _number_of(item[0])):
            before = known.get(sensor.device)
            domain = before.gpu.domain if before is not None else _name(told, taken)
            taken.add(domain)
            try:
                gpu = AmdGpu(domain, sensor)
            except (OSError, ValueError) as error:
                reason = f"{sensor.path.name}: {error}"
                self._findings.append(Finding(f"{_NAME}:{domain}", UNREADABLE, reason, FIX_LOG))
                continue
            self.meters.append(MeteredAmdGpu(gpu, before))
            if gpu.table_trouble:
                name = f"{_NAME}:{domain}.table"
                self._findings.append(Finding(name, UNREADABLE, gpu.table_trouble, FIX_LOG))
            if gpu.modes:
                self._findings.append(Finding(f"{_NAME}:{domain}.partitions", WORKING, gpu.modes))
        self.meters.sort(key=lambda meter: meter.gpu.index)
        self.rows: Rows[MeteredAmdGpu] = Rows(_NAME, self.meters)
        Processes(roots.sysfs).know(meter.gpu for meter in self.meters)

    @property
    def known(self) -> dict[Path, MeteredAmdGpu]:
        """Return the GPUs by their directories."""
        return {meter.gpu.device: meter for meter in self.meters}

    def probe(self) -> Probe:
        """Return what there is, as a source tells it."""
        return Probe(
            series=energy_series(meter.gpu.domain for meter in self.meters)
            + tuple(
                Series(metric, device=meter.gpu.domain)
                for meter in self.meters
                for metric in meter.gpu.metrics
            ),
            domains=tuple(_domain(meter) for meter in self.meters),
            devices=tuple(
                Device(
                    meter.gpu.domain,
                    report_pb2.DEVICE_KIND_GPU,
                    size_bytes=meter.gpu.size_bytes,
                    power_limit_mw=meter.gpu.limit_mw,
                    uuid=meter.gpu.uuid,
                    model=meter.gpu.model,
                )
                for meter in self.meters
            ),
            findings=tuple(self._findings)
            + tuple(
                Finding(f"{_NAME}:{meter.gpu.domain}.counter", SUSPECT, meter.energy.distrust)
                for meter in self.meters
                if meter.energy.distrust
            ),
        )

    def close(self) -> None:
        """Give the descriptors back."""
        # A descriptor that a thread hangs in stays open until the agent ends.
        if self.rows.close():
            for meter in self.meters:
                meter.gpu.close()


def _number_of(domain: str) -> int:
    return int(domain.partition(".")[2])


def _name(told: str, taken: set[str]) -> str:
    """Return what a new GPU is called: by its place on the bus, unless another is called so."""
    if told not in taken:
        return told
    return next(name for number in range(len(taken) + 1) if (name := f"gpu.{number}") not in taken)


def _domain(meter: MeteredAmdGpu) -> Domain:
    is_counter = meter.energy.counter is not None
    return Domain(
        name=meter.gpu.domain,
        source=_NAME,
        kind=report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_AVERAGE_POWER,
        # A gauge's step of 1 mW, held for a period.
        resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else _POWER_PERIOD_US // 1000,
        period_us=_PERIOD_US if is_counter else _POWER_PERIOD_US,
        accuracy_ppm=_ACCURACY_PPM,
        limit_mw=meter.energy.power.limit_mw,
    )
