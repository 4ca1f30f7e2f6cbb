"""Read AMD's GPUs by the kernel's files: energy as domains gpu.N, and how they fare as devices so called."""

from __future__ import annotations

from collections.abc import Hashable

from joulebook.agent.meters.amd_found import Found
from joulebook.agent.meters.amd_gpu import AmdGpu
from joulebook.agent.meters.gpus import GpusMeter
from joulebook.agent.source_facts import SourceFacts

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
    cost="p50 0.42 ms, p99 5.5 ms for 8 GPUs (files of a fixture), plus what the firmware "
    "takes; waited for at most 5 ms",
    documentation="Documentation/gpu/amdgpu/thermal.rst; drivers/gpu/drm/amd/include/kgd_pp_interface.h",
)


class AmdGpuMeter(GpusMeter[Found, AmdGpu]):
    """Read every discrete AMD GPU."""

    name = "amdgpu"

    def _find(self) -> Found:
        return Found(self._roots, self._known, self._hangs_s)

    def _list(self) -> frozenset[Hashable]:
        """Return the chips with sensors that the kernel lists: GPUs that come and go are among them."""
        try:
            return frozenset(each.resolve() for each in (self._roots.sysfs / "class/hwmon").iterdir())
        except OSError:
            return frozenset()

    def _is_due(self, before: frozenset[Hashable]) -> bool:
        # The files of one that cannot be read may be new ones.
        return super()._is_due(before) or any(meter.energy.booked.missing for meter in self._meters)
