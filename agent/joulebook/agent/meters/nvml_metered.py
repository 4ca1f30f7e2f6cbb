"""One NVIDIA GPU's energy: its counter, or its power integrated; and a superchip's module beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from joulebook.agent.aside import BlockedError
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.crosscheck import CrossCheck
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.nvml_codes import NvmlError, UnsupportedError
from joulebook.agent.meters.nvml_fields import MODULE_POWER, Fields
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import NvmlGpu
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import Domain
from joulebook.v1 import report_pb2
from joulebook.v1.metrics_pb2 import METRIC_DEVICE_GPU_POWER

Counter = EnergyCounter | PowerIntegral

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


class Metered:
    """A domain, what to ask the driver for it, and what came of that."""

    def __init__(self, domain: Domain, counter: Counter, read: Callable[[], int]) -> None:
        self.domain = domain
        self.counter = counter
        self.health = Health(f"{_SOURCE}:{domain.name}", domain.name, counter)
        self.check: CrossCheck | None = None
        # The error that the driver gave last, if it gave one.
        self.error: OSError | None = None
        self.is_waiting = False
        # What the driver gave: a reading or an error, the tick that asked, and when it came on that clock.
        self._came: deque[tuple[int | NvmlError, int, int]] = deque()
        self._read = read

    def ask(self, moment: Moment) -> None:
        """Ask the driver; in the thread that may hang."""
        try:
            answer: int | NvmlError = self._read()
        except NvmlError as error:
            answer = error
        self._came.append((answer, moment.now_us, moment.us()))

    def settle(self, now_us: int, blocked: BlockedError | None, power_mw: int) -> None:
        """Book what came. Until a late answer comes, what was shown stands; blocked: the driver hangs here.

        power_mw is what the GPU showed at about this time. A late answer counts at the time at which it came:
        what a counter counted meanwhile is in the next one, so nothing is lost.
        """
        self.is_waiting = not self._came and blocked is None
        if not self._came and blocked is not None:
            self._take(blocked, now_us, power_mw)
        if self.is_waiting and isinstance(self.counter, EnergyCounter):
            self.counter.begin(now_us)
        while self._came:
            answer, asked_us, came_us = self._came.popleft()
            at_us = now_us if asked_us == now_us else min(came_us, now_us)
            self._take(answer, max(at_us, self.counter.now_us), power_mw)

    def _take(self, answer: int | OSError, now_us: int, power_mw: int) -> None:
        check = self.check
        self.error = answer if isinstance(answer, OSError) else None
        if isinstance(answer, OSError):
            self.health.error, self.health.fix = str(answer), getattr(answer, "fix", "")
            self.counter.miss(now_us)
            if check is not None:
                check.miss()
            return
        self.counter.update(answer, now_us)
        self.health.suspicion, self.health.suspicion_fix, self.health.off_ppm = "", "", 0
        if check is not None:
            check.update(power_mw, now_us)
            self.health.suspicion, self.health.off_ppm = check.suspicion, check.off_ppm


class MeteredGpu(Metered):
    """A GPU with its gauges, and the module that it is on where that has a power of its own."""

    def __init__(
        self, gpu: NvmlGpu, gauges: Gauges, known: Mapping[str, Counter], *, has_module: bool
    ) -> None:
        """Choose how to meter it. NvmlError: it tells neither energy nor power."""
        self.gpu = gpu
        self.gauges = gauges
        self.module: Metered | None = None
        limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
        # On a superchip the energy counter may be the whole module's; power is told for each.
        is_counter = not has_module and _has_counter(gpu)
        if not is_counter:
            gpu.power_mw()
        read = gpu.energy_uj if is_counter else gpu.power_mw
        kind = report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_INSTANT_POWER
        super().__init__(
            _domain(gpu.domain, kind, limit_mw),
            _counter(known, gpu.domain, limit_mw, is_counter=is_counter),
            read,
        )
        if has_module:
            self.module = _module(gpu, known)
        if isinstance(self.counter, EnergyCounter) and gauges.metrics[:1] == (METRIC_DEVICE_GPU_POWER,):
            self.check = CrossCheck(self.counter)

    @property
    def power_mw(self) -> int:
        """Return the power that was shown last; 0 where none is."""
        return self.gauges.last[_POWER_PLACE] if self.gauges.last else 0

    def ask(self, moment: Moment) -> None:
        """Ask the driver for the GPU and its module."""
        super().ask(moment)
        if self.module is not None:
            self.module.ask(moment)

    def all(self) -> tuple[Metered, ...]:
        """Return the GPU and its module, if it has one."""
        return (self,) if self.module is None else (self, self.module)


def tells_module(gpu: NvmlGpu) -> bool:
    """Say whether a GPU tells the power of the module that it is on."""
    try:
        Fields(gpu.nvml, gpu.handle, MODULE_POWER)
    except NvmlError:
        return False
    return True


def _module(gpu: NvmlGpu, known: Mapping[str, Counter]) -> Metered:
    name = f"module.{gpu.index}"
    fields = Fields(gpu.nvml, gpu.handle, MODULE_POWER)
    domain = _domain(name, report_pb2.SOURCE_KIND_INSTANT_POWER, _MODULE_LIMIT_MW)
    counter = _counter(known, name, _MODULE_LIMIT_MW, is_counter=False)
    return Metered(domain, counter, lambda: fields.read(gpu.handle)[0])


def _has_counter(gpu: NvmlGpu) -> bool:
    try:
        gpu.energy_uj()
    except UnsupportedError:
        return False
    return True


def _counter(known: Mapping[str, Counter], name: str, limit_mw: int, *, is_counter: bool) -> Counter:
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
