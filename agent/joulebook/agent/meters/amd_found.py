"""Every discrete AMD GPU that the kernel shows, and what is booked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from joulebook.agent.meters.amd_gpu import AmdGpu
from joulebook.agent.meters.amd_metered import AmdDomain, Reading
from joulebook.agent.meters.amd_processes import Processes
from joulebook.agent.meters.amdsmi_codes import FIX_LOG
from joulebook.agent.meters.gpus_found import FoundGpus
from joulebook.agent.meters.hwmon_sensors import choose
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import UNREADABLE, WORKING, Device, Finding, Roots, Series

_NAME = "amdgpu"

# The GPUs that were found before, by their directory: their energy goes on, and their names.
Known = Mapping[Path, "MeteredAmdGpu"]


class MeteredAmdGpu(AmdDomain):
    """A GPU, which is asked for all it tells at once."""

    def __init__(self, gpu: AmdGpu, before: MeteredAmdGpu | None) -> None:
        """Go on from before, where it was known."""
        self.gpu = gpu
        super().__init__(_NAME, gpu, before, has_counter=gpu.has_counter, step_mw=1)

    def look(self, moment: Moment) -> Reading:
        """Read its files. OSError, ValueError: not even its power can be read."""
        return self.gpu.look(moment.now_us)

    @property
    def series(self) -> tuple[Series, ...]:
        """Return what values has."""
        return tuple(Series(metric, device=self.gpu.domain) for metric in self.gpu.metrics)

    @property
    def values(self) -> Sequence[int]:
        """Return the last values."""
        return self.gpu.gauges

    @property
    def parts(self) -> tuple[Device, ...]:
        """Return nothing: the kernel tells nothing of partitions."""
        return ()


class Found(FoundGpus[MeteredAmdGpu]):
    """What there is."""

    def __init__(self, roots: Roots, known: Known, hangs_s: float) -> None:
        super().__init__(_NAME, "no AMD GPU")
        sensors = {
            domain: sensor
            for domain, (sensor, *_) in choose(roots.sysfs / "class/hwmon", frozenset())[0].items()
            if sensor.chip == _NAME
        }
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
                self.told.append(Finding(f"{_NAME}:{domain}", UNREADABLE, reason, FIX_LOG))
                continue
            self.meters.append(MeteredAmdGpu(gpu, before))
            if gpu.table_trouble:
                name = f"{_NAME}:{domain}.table"
                self.told.append(Finding(name, UNREADABLE, gpu.table_trouble, FIX_LOG))
            if gpu.modes:
                self.told.append(Finding(f"{_NAME}:{domain}.partitions", WORKING, gpu.modes))
        self.meters.sort(key=lambda meter: meter.gpu.index)
        Processes(roots.sysfs).know(meter.gpu for meter in self.meters)
        self.begin(hangs_s)

    @property
    def known(self) -> Known:
        """Return the GPUs by their directories."""
        return {meter.gpu.device: meter for meter in self.meters}

    def give_back(self) -> None:
        """Close the files."""
        for meter in self.meters:
            meter.gpu.close()


def _number_of(domain: str) -> int:
    return int(domain.partition(".")[2])


def _name(told: str, taken: set[str]) -> str:
    """Return what a new GPU is called: by its place on the bus, unless another is called so."""
    if told not in taken:
        return told
    return next(name for number in range(len(taken) + 1) if (name := f"gpu.{number}") not in taken)
