"""One AMD GPU's energy, whoever reads it: its accumulator while the power bears it out, else its power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.agent.meters.amdsmi_codes import FIX_LOG
from joulebook.agent.meters.gpu_metered import Metered
from joulebook.agent.meters.gpus_found import KnownGpu
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.paired import PairedEnergy
from joulebook.agent.source import Domain
from joulebook.v1 import report_pb2

# The firmware renews its table every millisecond; the power is a mean of up to a second.
_COUNTER_PERIOD_US, _POWER_PERIOD_US = 1000, 1_000_000
_COUNTER_RESOLUTION_UJ = 16
_ACCURACY_PPM = 50_000
_LEAST_LIMIT_MW = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look gave; None: not this time, or never. error says why it is not whole."""

    energy_uj: int | None
    power_mw: int | None
    error: OSError | None = None


class AmdDomain(Metered[Reading]):
    """A GPU's domain, and what is booked of it."""

    energy: PairedEnergy

    def __init__(
        self, source: str, gpu: KnownGpu, before: AmdDomain | None, *, has_counter: bool, step_mw: int
    ) -> None:
        """Go on from before, where it was known. step_mw: in which the power is told."""
        super().__init__()
        self._source, self._name, self._step_mw = source, gpu.domain, step_mw
        if before is not None and (before.energy.counter is None or has_counter):
            # What was said of it stands until something else is to be said.
            self.energy, self.health = before.energy, before.health
        else:
            self.energy = PairedEnergy(max(2 * gpu.limit_mw, _LEAST_LIMIT_MW), has_counter=has_counter)
            self.health = Health(f"{source}:{gpu.domain}", gpu.domain, self.energy.booked)
        self.domain = self._domain()
        self._has_changed = False

    @property
    def distrust(self) -> str:
        """Return why its accumulator is not booked any more."""
        return self.energy.distrust

    def all(self) -> Sequence[AmdDomain]:
        """Return its domain: itself."""
        return (self,)

    def take(self, answer: Reading, now_us: int) -> None:
        """Book what was read."""
        energy = self.energy
        was_counter = energy.counter is not None
        energy.update(answer.energy_uj, answer.power_mw, now_us)
        is_read = (answer.energy_uj if was_counter else answer.power_mw) is not None
        self.error = None if is_read else answer.error
        if answer.error is not None:
            self._say(answer.error)
        if was_counter and energy.counter is None:
            self.domain, self._has_changed = self._domain(), True
            self.health.counter = energy.booked

    def miss(self, error: OSError | ValueError, now_us: int) -> None:
        """Note that nothing could be had."""
        self.error = error if isinstance(error, OSError) else None
        self._say(error)
        self.energy.miss(now_us)

    def take_change(self) -> bool:
        """Say whether its accumulator is not believed any more, since the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    def _say(self, error: OSError | ValueError) -> None:
        self.health.error, self.health.fix = str(error), getattr(error, "fix", "") or FIX_LOG

    def _domain(self) -> Domain:
        is_counter = self.energy.counter is not None
        return Domain(
            name=self._name,
            source=self._source,
            kind=report_pb2.SOURCE_KIND_COUNTER if is_counter else report_pb2.SOURCE_KIND_AVERAGE_POWER,
            # A gauge's step, held for a period; mW · µs are nJ.
            resolution_uj=_COUNTER_RESOLUTION_UJ if is_counter else self._step_mw * _POWER_PERIOD_US // 1000,
            period_us=_COUNTER_PERIOD_US if is_counter else _POWER_PERIOD_US,
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=self.energy.power.limit_mw,
        )
