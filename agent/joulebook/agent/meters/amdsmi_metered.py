"""One AMD GPU's energy as AMD SMI tells it: its accumulator while the power bears it out, else its power."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from joulebook.agent.aside import BlockedError
from joulebook.agent.meters.amdsmi_accumulator import Accumulator, unit_uj
from joulebook.agent.meters.amdsmi_codes import FIX_LOG, AmdsmiError, UnsupportedError
from joulebook.agent.meters.amdsmi_gauges import Gauges
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.paired import PairedEnergy
from joulebook.agent.meters.row import Moment
from joulebook.agent.source import Domain, Series
from joulebook.v1 import report_pb2
from joulebook.v1.metrics_pb2 import METRIC_DEVICE_GPU_POWER

_SOURCE = "amdsmi"
# The firmware renews its table every millisecond; the power is a mean of up to a second.
_COUNTER_PERIOD_US, _POWER_PERIOD_US = 1000, 1_000_000
_COUNTER_RESOLUTION_UJ = 16
# Power is told in whole watts.
_POWER_RESOLUTION_UJ = 1_000_000
_ACCURACY_PPM = 50_000
_LEAST_LIMIT_MW = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What the driver gave; None: not this time, or never. error says why the power was not had."""

    energy_uj: int | None
    power_mw: int | None
    error: AmdsmiError | None = None


class MeteredGpu:
    """A GPU with its gauges, and what came of asking for its energy."""

    def __init__(self, gpu: AmdsmiGpu, before: MeteredGpu | None) -> None:
        """Go on from before, where it was known. AmdsmiError: it tells neither energy nor power."""
        self.gpu = gpu
        has_counter = _tells(lambda: unit_uj(gpu.accumulated()[1]))
        self.has_power = _tells(gpu.power_mw)
        if not has_counter and not self.has_power:
            raise AmdsmiError("it tells neither its energy nor its power", FIX_LOG)
        self.gauges = Gauges(gpu)
        self.limit_mw = max(2 * gpu.limit_mw, _LEAST_LIMIT_MW)
        self.energy: PairedEnergy
        self._accumulator: Accumulator
        self.health: Health
        if before is not None and (before.energy.counter is None or has_counter):
            self.energy, self._accumulator = before.energy, before._accumulator
            # What was said of it stands until something else is to be said.
            self.health = before.health
        else:
            self.energy = PairedEnergy(self.limit_mw, has_counter=has_counter)
            self._accumulator = Accumulator(self.limit_mw)
            self.health = Health(f"{_SOURCE}:{gpu.domain}", gpu.domain, self.energy.booked)
        self.error: OSError | None = None
        self.power_mw = 0
        self.is_waiting = False
        # The accumulator turned out not to be believed, since it was asked last.
        self.has_changed = False
        # What the driver gave, the tick that asked, and when it came on that clock.
        self._came: deque[tuple[Reading, int, int]] = deque()

    def ask(self, moment: Moment) -> None:
        """Ask the driver; in the thread that may hang."""
        energy_uj = power_mw = None
        error: AmdsmiError | None = None
        if self.energy.counter is not None:
            try:
                energy_uj = self._accumulator.energy_uj(*self.gpu.accumulated(), moment.us())
            except AmdsmiError as failed:
                error = failed
        if self.has_power:
            try:
                power_mw = self.gpu.power_mw()
            except AmdsmiError as failed:
                error = error or failed
        self._came.append((Reading(energy_uj, power_mw, error), moment.now_us, moment.us()))

    def settle(self, now_us: int, blocked: BlockedError | None) -> None:
        """Book what came. Until a late answer comes, what was shown stands; it counts at the time it came."""
        self.is_waiting = not self._came and blocked is None
        if not self._came and blocked is not None:
            self.miss(blocked, now_us)
        if self.is_waiting and self.energy.counter is not None:
            self.energy.counter.begin(now_us)
        while self._came:
            reading, asked_us, came_us = self._came.popleft()
            at_us = now_us if asked_us == now_us else min(came_us, now_us)
            self._take(reading, max(at_us, self.energy.power.now_us, self.energy.booked.now_us))

    def miss(self, error: OSError, now_us: int) -> None:
        """Note that nothing could be had."""
        self.error = error
        self.health.error, self.health.fix = str(error), getattr(error, "fix", FIX_LOG)
        self.energy.miss(now_us)

    @property
    def series(self) -> tuple[Series, ...]:
        """Return what values has."""
        power = (Series(METRIC_DEVICE_GPU_POWER, device=self.gpu.domain),) if self.has_power else ()
        return power + self.gauges.series

    @property
    def values(self) -> list[int]:
        """Return the last values of its gauges, and of its partitions'."""
        return [self.power_mw, *self.gauges.last] if self.has_power else self.gauges.last

    def domain(self) -> Domain:
        """Return the domain as it is metered now."""
        is_counter = self.energy.counter is not None
        return Domain(
            name=self.gpu.domain,
            source=_SOURCE,
            kind=report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_AVERAGE_POWER,
            resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else _POWER_RESOLUTION_UJ,
            period_us=_COUNTER_PERIOD_US if is_counter else _POWER_PERIOD_US,
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=self.limit_mw,
        )

    def _take(self, reading: Reading, now_us: int) -> None:
        energy = self.energy
        was_counter = energy.counter is not None
        energy.update(reading.energy_uj, reading.power_mw, now_us)
        is_read = (reading.energy_uj if was_counter else reading.power_mw) is not None
        self.error = None if is_read else reading.error
        if reading.power_mw is not None:
            self.power_mw = reading.power_mw
        if reading.error is not None:
            self.health.error, self.health.fix = str(reading.error), reading.error.fix or FIX_LOG
        if was_counter and energy.counter is None:
            self.has_changed = True
            self.health.counter = energy.booked


def _tells(ask: Callable[[], object]) -> bool:
    """Say whether a GPU has something; one that fails for once has it."""
    try:
        ask()
    except UnsupportedError:
        return False
    except AmdsmiError:
        return True
    return True
