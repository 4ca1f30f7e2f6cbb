"""Read AMD's GPUs through AMD SMI: energy as domains gpu.N, and how they fare as devices of the same name."""

from __future__ import annotations

from collections.abc import Sequence

from joulebook.agent.aside import Aside, Pending
from joulebook.agent.meters.amdsmi_cards import listed
from joulebook.agent.meters.amdsmi_codes import AmdsmiError, StaleError
from joulebook.agent.meters.amdsmi_found import Found
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.amdsmi_library import MissingError
from joulebook.agent.meters.amdsmi_metered import MeteredGpu
from joulebook.agent.meters.row import HANGS_S, Moment
from joulebook.agent.source import ABSENT, UNREADABLE, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts

# A tick may not wait longer than 5 ms for all GPUs together: so long for their energy, and a quarter of that
# for who uses them. A start may wait longer.
_WAIT_S = 0.004
_LOOK_SHARE = 0.25
_START_S = 10.0
# How often it is looked whether GPUs or partitions came or went, and the driver was loaded.
_LOOK_US = 30_000_000
# Where no GPU answers the driver may have been loaded again; one that was lost and then reset may show up
# only when AMD SMI is begun again, and the others pause for that. Each time that it did not help the next
# one is twice as far away.
_AGAIN_US, _LOST_US, _MOST_US = 5_000_000, 60_000_000, 600_000_000
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
    cost="8 stand-in GPUs with 24 series each: the tick waits 0.8 ms (5 at most); 1.6 ms of CPU a tick",
    documentation="AMD SMI Python API reference; amdsmi.h",
)


class AmdsmiMeter:
    """Read every AMD GPU. One that is lost, or lacks something, takes nothing from the others.

    A tick waits for the energy of all GPUs, for wait_s at most: what comes later counts with the next one.
    How they fare is asked for after it and comes with the next tick.
    """

    name = "amdsmi"

    def __init__(
        self, roots: Roots, wait_s: float = _WAIT_S, start_s: float = _START_S, hangs_s: float = HANGS_S
    ) -> None:
        self.wait_s = wait_s
        self._start_s, self._hangs_s = start_s, hangs_s
        self._roots = roots
        self._driver = (roots.sysfs / "module/amdgpu", roots.devfs / "kfd")
        self._aside: Aside | None = None
        self._finding: Pending[Found] | None = None
        self._began_us = 0
        self._found: Found | None = None
        # All GPUs that were ever found, so that their energy goes on whatever comes between.
        self._known: dict[str, MeteredGpu] = {}
        self._told = Probe()
        # Why AMD SMI could not be begun again: what was found is not asked then.
        self._gone: AmdsmiError | None = None
        self._listed: frozenset[str] = frozenset()
        self._look_us = -1
        self._lost_us = -1
        self._patience_us = _AGAIN_US

    @property
    def gpus(self) -> tuple[AmdsmiGpu, ...]:
        """Return the GPUs found, in the order of their domains."""
        return tuple(meter.gpu for meter in self._meters)

    def probe(self) -> Probe:
        """Find every GPU, and what each can tell; a driver that hangs is waited for, and found later."""
        self._listed = listed(self._roots)
        if not self._has_driver():
            self._told = Probe(findings=(self._absent(AmdsmiError("")),))
            return self._told
        finding = self._begin_look(0)
        finding.wait(self._start_s)
        if self._take_look() is None:
            error = finding.blocked()
            self._told = Probe(findings=(Finding(self.name, UNREADABLE, str(error), error.fix),))
        return self._told

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each GPU, then the gauges of each and its partitions.

        One that does not answer in time misses this reading.
        """
        self._look(now_us)
        found = self._found
        if found is None:
            return ()
        if self._finding is None and self._gone is None:
            moment = Moment(now_us)
            found.rows.ask(lambda meter: meter.ask(moment), self.wait_s)
        values: list[int] = []
        gauges: list[int] = []
        for meter in found.meters:
            self._settle(found, meter, now_us)
            values += (meter.energy.energy_uj, meter.energy.unread_us)
            gauges += meter.values
        if self._finding is None and self._gone is None:
            found.rows.follow(lambda meter: meter.gauges.read(now_us))
        return values + gauges

    def changed(self) -> Probe | None:
        """Return what there is now, where GPUs or partitions came or went, or a counter is not believed."""
        before = self._told
        self._take_look()
        if self._found is not None and any(meter.has_changed for meter in self._found.meters):
            for meter in self._found.meters:
                meter.has_changed = False
            self._told = self._found.probe()
        return self._told if self._told != before else None

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for meter in self._meters for finding in meter.health.finding())

    def is_waiting(self) -> bool:
        """Say whether a GPU has not answered yet, and may."""
        return any(meter.is_waiting for meter in self._meters)

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(meter.energy.offset_uj for meter in self._meters)

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return tuple(meter.energy.variance_nj2 for meter in self._meters)

    def close(self) -> None:
        """Give AMD SMI back."""
        if self._aside is not None:
            self._aside.close()
        if self._found is not None:
            self._found.close()
        self._aside = self._finding = self._found = None

    @property
    def _meters(self) -> list[MeteredGpu]:
        return self._found.meters if self._found is not None else []

    def _settle(self, found: Found, meter: MeteredGpu, now_us: int) -> None:
        if self._gone is not None:
            meter.miss(self._gone, now_us)
        elif self._finding is None:
            meter.settle(now_us, found.rows.blocked(meter) if found.rows.hangs(meter) else None)
        elif now_us - self._began_us > _PAUSE_US:
            meter.miss(self._finding.blocked(), now_us)

    def _begin_look(self, now_us: int) -> Pending[Found]:
        """Begin AMD SMI, again where it was begun: new GPUs and partitions show up only then."""
        if self._finding is not None:
            return self._finding
        before = self._found

        def find() -> Found:
            if before is not None and not before.close():
                raise AmdsmiError("a call has not come back", "look for amdgpu lines in the kernel's log")
            return Found(self._roots, self._known, self._hangs_s)

        self._aside = Aside(f"{self.name}.look")
        self._finding, self._began_us = self._aside.begin(find), now_us
        return self._finding

    def _take_look(self) -> Probe | None:
        """Take what a look found, in place of what was there; None: there is nothing to take."""
        if self._finding is None or self._aside is None or not self._finding.done:
            return None
        finding, self._finding = self._finding, None
        self._aside.close()
        try:
            found = finding.result(0)
        except AmdsmiError as error:
            self._gone = error
            if self._found is None:
                self._told = Probe(findings=(self._absent(error),))
            return self._told
        self._gone, self._found, self._lost_us = None, found, -1
        self._known |= found.known
        found.looks.wait_s = self.wait_s * _LOOK_SHARE
        self._told = found.probe()
        return self._told

    def _look(self, now_us: int) -> None:
        """Have it looked again where something came or went; what asks the driver is done beside the tick."""
        if self._finding is not None or (self._found is not None and self._found.rows.hang):
            return
        if self._look_us < 0:
            self._look_us = now_us
        is_due = self._is_stale(now_us)
        if now_us - self._look_us >= _LOOK_US:
            self._look_us = now_us
            before, self._listed = self._listed, listed(self._roots)
            is_due |= self._has_driver() and (self._found is None or before != self._listed)
        if is_due:
            self._begin_look(now_us)

    def _is_stale(self, now_us: int) -> bool:
        """Say whether AMD SMI should be begun again: no GPU answers, or one has been lost for long."""
        meters = self._meters
        errors = [meter.error for meter in meters if isinstance(meter.error, AmdsmiError)]
        if not errors:
            self._lost_us, self._patience_us = -1, _AGAIN_US
            return False
        if self._lost_us < 0:
            self._lost_us = now_us
        is_all = len(errors) == len(meters) or any(isinstance(error, StaleError) for error in errors)
        if now_us - self._lost_us < max(self._patience_us, 0 if is_all else _LOST_US):
            return False
        self._lost_us, self._patience_us = now_us, min(2 * self._patience_us, _MOST_US)
        return True

    def _has_driver(self) -> bool:
        return any(path.exists() for path in self._driver)

    def _absent(self, error: AmdsmiError) -> Finding:
        if not self._has_driver():
            return Finding(self.name, ABSENT, "no AMD GPU")
        if isinstance(error, MissingError):
            return Finding(self.name, ABSENT, f"{error}: the meter amdgpu reads instead", error.fix)
        return Finding(self.name, UNREADABLE, f"there is an AMD driver, but {error}", error.fix)
