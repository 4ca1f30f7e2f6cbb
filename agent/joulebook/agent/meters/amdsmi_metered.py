"""One AMD GPU as AMD SMI tells it: what to ask for its energy, and its gauges."""

from __future__ import annotations

from collections.abc import Callable

from joulebook.agent.meters.amd_metered import AmdDomain, Reading
from joulebook.agent.meters.amdsmi_accumulator import Accumulator, unit_uj
from joulebook.agent.meters.amdsmi_codes import FIX_LOG
from joulebook.agent.meters.amdsmi_gauges import Gauges
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import Device, Series
from joulebook.v1.metrics_pb2 import METRIC_DEVICE_GPU_POWER

# Power is told in whole watts.
_STEP_MW = 1000


class MeteredGpu(AmdDomain):
    """A GPU with its gauges."""

    def __init__(self, gpu: AmdsmiGpu, before: MeteredGpu | None) -> None:
        """Go on from before, where it was known. DriverError: it tells neither energy nor power."""
        self.gpu = gpu
        has_counter = _tells(lambda: unit_uj(gpu.accumulated()[1]))
        self.has_power = _tells(gpu.power_mw)
        if not has_counter and not self.has_power:
            raise DriverError("it tells neither its energy nor its power", FIX_LOG)
        self.gauges = Gauges(gpu)
        super().__init__("amdsmi", gpu, before, has_counter=has_counter, step_mw=_STEP_MW)
        self._accumulator = Accumulator(self.energy.power.limit_mw)
        if before is not None and before.energy is self.energy:
            self._accumulator = before._accumulator
        self.power_mw = 0

    def look(self, moment: Moment) -> Reading:
        """Ask for the energy and the power."""
        energy_uj = power_mw = None
        error: DriverError | None = None
        if self.energy.counter is not None:
            try:
                energy_uj = self._accumulator.energy_uj(*self.gpu.accumulated(), moment.us())
            except DriverError as failed:
                error = failed
        if self.has_power:
            try:
                power_mw = self.gpu.power_mw()
            except DriverError as failed:
                error = error or failed
        return Reading(energy_uj, power_mw, error)

    def take(self, answer: Reading, now_us: int) -> None:
        """Book what was read."""
        super().take(answer, now_us)
        if answer.power_mw is not None:
            self.power_mw = answer.power_mw

    @property
    def series(self) -> tuple[Series, ...]:
        """Return what values has."""
        power = (Series(METRIC_DEVICE_GPU_POWER, device=self.gpu.domain),) if self.has_power else ()
        return power + self.gauges.series

    @property
    def values(self) -> list[int]:
        """Return the last values of its gauges, and of its partitions'."""
        return [self.power_mw, *self.gauges.last] if self.has_power else self.gauges.last

    @property
    def parts(self) -> tuple[Device, ...]:
        """Return its partitions."""
        return self.gauges.partitions


def _tells(ask: Callable[[], object]) -> bool:
    """Say whether a GPU has something; one that fails for once has it."""
    try:
        ask()
    except UnsupportedError:
        return False
    except DriverError:
        return True
    return True
