"""Read AMD's GPUs through AMD SMI: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

from collections.abc import Hashable

from joulebook.agent.aside import BlockedError
from joulebook.agent.meters.amdsmi_cards import listed
from joulebook.agent.meters.amdsmi_codes import FIX_LOG
from joulebook.agent.meters.amdsmi_found import Found
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.amdsmi_library import MissingError
from joulebook.agent.meters.amdsmi_metered import MeteredGpu
from joulebook.agent.meters.beginning import Beginning
from joulebook.agent.meters.codes import DriverError, StaleError
from joulebook.agent.meters.gpus import GpusMeter
from joulebook.agent.source import ABSENT, UNREADABLE, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts

# So long may beginning again take before what it stands for is unread.
_PAUSE_US = 2_000_000

FACTS = SourceFacts(
    name="amdsmi",
    what=(
        "energy of AMD's GPUs (`gpu.N`); as devices of the same name power, limits, utilisation, memory, "
        "clocks, temperatures, throttling, PCIe, xGMI and memory errors ([gpus.md](gpus.md)); utilisation "
        "and memory of partitions (`gpu.N.xcp.P`)"
    ),
    where="AMD SMI (ROCm) through `amdsmi`; where it is not installed, `amdgpu` reads",
    unit="2^-16 J counter, else W integrated",
    period="1 ms; without a counter as the sensor averages",
    accuracy="±5 %; a counter that goes apart from the power is not believed any more",
    privilege="groups `render` and `video`; root for who uses the GPUs where the compute driver is not there",
    cost="8 stand-in GPUs with 24 series each: the tick waits 1.1 ms (p99 2.1 ms, 5 at most); "
    "2.3 ms of CPU a tick",
    documentation="AMD SMI Python API reference; amdsmi.h",
)


class AmdsmiMeter(GpusMeter[Found, AmdsmiGpu]):
    """Read every AMD GPU. How they fare is asked for after the energy and comes with the next tick.

    New GPUs and partitions show up only when AMD SMI is begun again: nothing is asked meanwhile.
    """

    name = "amdsmi"

    def __init__(self, roots: Roots, **waits: float) -> None:
        super().__init__(roots, **waits)
        self._beginning = Beginning()

    def probe(self) -> Probe:
        """Find every GPU; a node without the driver is not asked."""
        if self._has_driver():
            return super().probe()
        self._listed = self._list()
        self._told = Probe(findings=(self._absent(DriverError("")),))
        return self._told

    def _find(self) -> Found:
        before = self._found
        if before is not None and not before.close():
            raise DriverError("a call has not come back", FIX_LOG)
        return Found(self._roots, self._known, self._hangs_s)

    def _list(self) -> frozenset[Hashable]:
        return frozenset(listed(self._roots))

    def _is_due(self, before: frozenset[Hashable]) -> bool:
        return self._has_driver() and (self._found is None or super()._is_due(before))

    def _is_stale(self, now_us: int) -> bool:
        """Say whether AMD SMI should be begun again: no GPU answers, or one has been lost for long."""
        if self._found is None or self._found.rows.hang:
            return False
        meters = self._found.meters
        errors = [meter.error for meter in meters if isinstance(meter.error, DriverError)]
        is_all = len(errors) == len(meters) or any(isinstance(error, StaleError) for error in errors)
        return self._beginning.is_due(now_us, lost=bool(errors), everything=is_all)

    def _may_ask(self) -> bool:
        return self._pending is None and self._refused is None

    def _settle(self, meter: MeteredGpu, now_us: int, blocked: BlockedError | None) -> None:
        if self._refused is not None:
            meter.miss(self._refused, now_us)
        elif self._pending is None:
            super()._settle(meter, now_us, blocked)
        elif now_us - self._began_us > _PAUSE_US:
            meter.miss(self._pending.blocked(), now_us)

    def _follow(self, found: Found, now_us: int) -> None:
        found.rows.follow(lambda meter: meter.gauges.read(now_us))

    def _has_driver(self) -> bool:
        return any(path.exists() for path in (self._roots.sysfs / "module/amdgpu", self._roots.devfs / "kfd"))

    def _absent(self, error: OSError) -> Finding:
        fix = getattr(error, "fix", "")
        if not self._has_driver():
            return Finding(self.name, ABSENT, "no AMD GPU")
        if isinstance(error, MissingError):
            return Finding(self.name, ABSENT, f"{error}: the meter amdgpu reads instead", fix)
        return Finding(self.name, UNREADABLE, f"there is an AMD driver, but {error}", fix)
