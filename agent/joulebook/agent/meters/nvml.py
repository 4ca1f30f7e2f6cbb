"""Read NVIDIA's GPUs: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

from collections.abc import Hashable

from joulebook.agent.host import read_host
from joulebook.agent.meters.beginning import Beginning
from joulebook.agent.meters.codes import DriverError, StaleError
from joulebook.agent.meters.gpus import GpusMeter
from joulebook.agent.meters.nvml_found import Found
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.source import ABSENT, UNREADABLE, Finding, Roots
from joulebook.agent.source_facts import SourceFacts

FACTS = SourceFacts(
    name="nvml",
    what=(
        "energy of NVIDIA's GPUs (`gpu.N`); as devices of the same name power, limits, utilisation, "
        "profiling ratios, clocks, throttling, memory, temperatures, PCIe, NVLink, ECC and XID errors "
        "([gpus.md](gpus.md)); memory and profiling ratios of MIG instances (`gpu.N.mig.G.C`)"
    ),
    where="NVIDIA's driver through `nvidia-ml-py`",
    unit="mJ counter, else mW",
    period="100 ms; without a counter a mean of 1 s",
    accuracy="±5 % in steady state; A100 and H100 look at 25 of every 100 ms",
    privilege="read and write on `/dev/nvidia*`",
    cost="8 stand-in GPUs with 43 series each: the tick waits 0.6 ms (p99 3.6 ms, 5 at most); "
    "1.3 ms of CPU a tick",
    documentation="NVML API Reference Guide; Yang, Adamek, Armour, arXiv 2312.02741",
)


class NvmlMeter(GpusMeter[Found, NvmlGpu]):
    """Read every NVIDIA GPU. How they fare is asked for after the energy and comes with the next tick."""

    name = "nvml"

    def __init__(self, roots: Roots, **waits: float) -> None:
        super().__init__(roots, **waits)
        self._beginning = Beginning()

    def _find(self) -> Found:
        return Found(read_host(self._roots).packages, self._known, self._hangs_s)

    def _list(self) -> frozenset[Hashable]:
        try:
            return frozenset(each.name for each in (self._roots.procfs / "driver/nvidia/gpus").iterdir())
        except OSError:
            return frozenset()

    def _is_due(self, before: frozenset[Hashable]) -> bool:
        # Of GPUs that are gone nothing is to be found.
        return bool(self._listed - before) if self._found is not None else self._has_driver()

    def _has_driver(self) -> bool:
        paths = (self._roots.procfs / "driver/nvidia", self._roots.devfs / "nvidiactl")
        return any(path.exists() for path in paths)

    def _absent(self, error: OSError) -> Finding:
        if not self._has_driver():
            return Finding(self.name, ABSENT, "no NVIDIA driver")
        reason = f"there is an NVIDIA driver, but {error}"
        return Finding(self.name, UNREADABLE, reason, getattr(error, "fix", ""))

    def _follow(self, found: Found, now_us: int) -> None:
        # A GPU may answer though it has had an error which does not pass.
        for meter in found.meters if found.xids.has_grave else ():
            grave, fix = found.xids.grave(meter.gpu.uuid)
            if grave and not meter.energy.missing:
                meter.health.suspicion, meter.health.suspicion_fix = grave, fix
        if self._must_renew(found, now_us):
            found.rows.follow(found.renewal())
        found.rows.follow(lambda meter: meter.gauges.read(now_us))

    def _must_renew(self, found: Found, now_us: int) -> bool:
        """Say whether NVML should be begun again: no GPU answers, or one has been lost for long."""
        if found.rows.hang:
            return False
        errors = [meter.error for meter in found.meters if isinstance(meter.error, DriverError)]
        is_all = len(errors) == len(found.meters) or any(isinstance(error, StaleError) for error in errors)
        return self._beginning.is_due(now_us, lost=bool(errors), everything=is_all)
