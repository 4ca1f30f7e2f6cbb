"""One NVIDIA GPU's energy: its counter, or its power integrated; and a superchip's module beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.crosscheck import CrossCheck
from joulebook.agent.meters.gpu_metered import Metered
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.nvml_fields import MODULE_POWER, Fields
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import Device, Domain, Series
from joulebook.v1 import report_pb2
from joulebook.v1.metrics_pb2 import METRIC_DEVICE_GPU_POWER

Energy = EnergyCounter | PowerIntegral

# The counter moves in steps of about 100 ms; the gauge is a mean of a second, or momentary on old GPUs.
_COUNTER_PERIOD_US = 100_000
_POWER_PERIOD_US = 1_000_000
_COUNTER_RESOLUTION_UJ = 1000
# Within 5 % in steady state. A100 and H100 look at 25 ms of every 100: a load that keeps step with that may
# be off by far more (Yang, Adamek, Armour: Part-time Power Measurements, 2023).
_ACCURACY_PPM = 50_000
# A GPU passes its power limit for moments only; old ones state none. A module holds a CPU as well.
_LEAST_LIMIT_MW = 1_000_000
_MODULE_LIMIT_MW = 4_000_000
# Gauges come in a fixed order, power first where there is any.
_POWER_PLACE = 0

_SOURCE = "nvml"


class NvmlDomain(Metered[int]):
    """A domain, and what to ask the driver for it."""

    energy: Energy

    def __init__(self, domain: Domain, energy: Energy, read: Callable[[], int]) -> None:
        super().__init__()
        self.domain, self.energy = domain, energy
        self.health = Health(f"{_SOURCE}:{domain.name}", domain.name, energy)
        self._read = read

    def look(self, moment: Moment) -> int:  # noqa: ARG002  (the driver knows the time)
        """Ask the driver for the counter in µJ, or the power in mW. DriverError: it does not tell."""
        return self._read()

    def take(self, answer: int, now_us: int) -> None:
        """Book it."""
        self.error = None
        self.energy.update(answer, now_us)
        self.health.suspicion, self.health.suspicion_fix, self.health.off_ppm = "", "", 0

    def miss(self, error: OSError | ValueError, now_us: int) -> None:
        """Note that nothing could be had."""
        self.error = error if isinstance(error, OSError) else OSError(str(error))
        self.health.error, self.health.fix = str(error), getattr(error, "fix", "")
        self.energy.miss(now_us)


class MeteredGpu(NvmlDomain):
    """A GPU with its gauges, and the module that it is on where that has a power of its own."""

    def __init__(
        self, gpu: NvmlGpu, gauges: Gauges, known: Mapping[str, Energy], *, has_module: bool
    ) -> None:
        """Choose how to meter it. DriverError: it tells neither energy nor power."""
        self.gpu = gpu
        self.gauges = gauges
        self._all: tuple[NvmlDomain, ...] = (self,)
        limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
        # On a superchip the energy counter may be the whole module's; power is told for each.
        is_counter = not has_module and _has_counter(gpu)
        if not is_counter:
            gpu.power_mw()
        read = gpu.energy_uj if is_counter else gpu.power_mw
        kind = report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_INSTANT_POWER
        super().__init__(
            _domain(gpu.domain, kind, limit_mw),
            _energy(known, gpu.domain, limit_mw, is_counter=is_counter),
            read,
        )
        if has_module:
            self._all = (self, _module(gpu, known))
        # Compares the counter with the power, where both are told.
        self._check: CrossCheck | None = None
        if isinstance(self.energy, EnergyCounter) and gauges.metrics[:1] == (METRIC_DEVICE_GPU_POWER,):
            self._check = CrossCheck(self.energy)

    @property
    def series(self) -> tuple[Series, ...]:
        """Return what values has: its own gauges, and those of its instances."""
        own = tuple(Series(metric, device=self.gpu.domain) for metric in self.gauges.metrics)
        instances = self.gauges.instances.each
        return own + tuple(
            Series(metric, device=one.device.name) for one in instances for metric in one.metrics
        )

    @property
    def values(self) -> list[int]:
        """Return the last values."""
        instances = self.gauges.instances.each
        return self.gauges.last + [value for one in instances for value in one.last]

    @property
    def parts(self) -> tuple[Device, ...]:
        """Return its instances."""
        return tuple(one.device for one in self.gauges.instances.each)

    def take_change(self) -> bool:
        """Say whether it has other instances than were told of; from now on they are."""
        return self.gauges.instances.take()

    def ask(self, moment: Moment) -> None:
        """Ask the driver for the GPU and its module."""
        super().ask(moment)
        for other in self._all[1:]:
            other.ask(moment)

    def take(self, answer: int, now_us: int) -> None:
        """Book it, and compare it with the power that was shown at about this time."""
        super().take(answer, now_us)
        check = self._check
        if check is not None:
            check.update(self.gauges.last[_POWER_PLACE], now_us)
            self.health.suspicion, self.health.off_ppm = check.suspicion, check.off_ppm

    def miss(self, error: OSError | ValueError, now_us: int) -> None:
        """Note that nothing could be had; nor can it be compared."""
        super().miss(error, now_us)
        if self._check is not None:
            self._check.miss()

    def all(self) -> Sequence[NvmlDomain]:
        """Return the GPU and its module, if it has one."""
        return self._all


def tells_module(gpu: NvmlGpu) -> bool:
    """Say whether a GPU tells the power of the module that it is on."""
    try:
        Fields(gpu.nvml, gpu.handle, MODULE_POWER)
    except DriverError:
        return False
    return True


def _module(gpu: NvmlGpu, known: Mapping[str, Energy]) -> NvmlDomain:
    name = f"module.{gpu.index}"
    fields = Fields(gpu.nvml, gpu.handle, MODULE_POWER)
    domain = _domain(name, report_pb2.SOURCE_KIND_INSTANT_POWER, _MODULE_LIMIT_MW)
    energy = _energy(known, name, _MODULE_LIMIT_MW, is_counter=False)
    return NvmlDomain(domain, energy, lambda: fields.read(gpu.handle)[0])


def _has_counter(gpu: NvmlGpu) -> bool:
    try:
        gpu.energy_uj()
    except UnsupportedError:
        return False
    return True


def _energy(known: Mapping[str, Energy], name: str, limit_mw: int, *, is_counter: bool) -> Energy:
    """Return the counter that a domain had, where it is of the right kind, so that it goes on."""
    before = known.get(name)
    if before is not None and isinstance(before, EnergyCounter) == is_counter:
        return before
    return EnergyCounter(limit_mw=limit_mw) if is_counter else PowerIntegral(limit_mw)


def _domain(name: str, kind: report_pb2.SourceKind.ValueType, limit_mw: int) -> Domain:
    is_counter = kind == report_pb2.SOURCE_KIND_COUNTER
    return Domain(
        name=name,
        source=_SOURCE,
        kind=kind,
        # A gauge's step of 1 mW, held for a period.
        resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else _POWER_PERIOD_US // 1000,
        period_us=_COUNTER_PERIOD_US if is_counter else _POWER_PERIOD_US,
        accuracy_ppm=_ACCURACY_PPM,
        limit_mw=limit_mw,
    )
