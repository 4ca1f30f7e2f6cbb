"""One wake-up a tick reads everything; a few ticks make a Report."""

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from operator import sub

from joulebook.agent.clock import boot_us
from joulebook.agent.floor import IdleFloor
from joulebook.agent.intensities.intensities import Intensities
from joulebook.agent.layout import Layouts
from joulebook.agent.reader import Reader
from joulebook.agent.sampling import SamplingError
from joulebook.agent.source import (
    ABSENT,
    WORKING,
    Device,
    Domain,
    Finding,
    Meter,
    Probe,
    Sampling,
    Series,
    Source,
    TellingSource,
)
from joulebook.agent.workloads.workloads import Workloads
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash

_GAUGES = (report_pb2.SOURCE_KIND_AVERAGE_POWER, report_pb2.SOURCE_KIND_INSTANT_POWER)

_log = logging.getLogger(__name__)

_UNSURE = "{:.3f} s of CPU time was split among workloads that ended together, by how busy they had been"

# Takes a Report and its serialised Layout.
Emit = Callable[[report_pb2.Report, bytes], None]


class Sampler:
    """Reads sources and workloads into rows, and cuts Reports from them."""

    def __init__(
        self,
        node: str,
        boot: bytes,
        host: report_pb2.Host,
        probed: Sequence[tuple[Source, Probe]],
        meters: Sequence[Meter],
        workloads: Workloads,
        emit: Emit,
        *,
        ticks_per_report: int = 10,
        idle_power_mw: dict[str, int] | None = None,
        intensities: Intensities | None = None,
        clock: Callable[[], int] = boot_us,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._node, self._boot = node, boot
        readers = [Reader(source, probe) for source, probe in probed]
        self._readers = [reader for reader in readers if reader.worth_reading]
        self._meters = meters
        self._telling = [r.source for r in self._readers if isinstance(r.source, TellingSource)]
        self._workloads = workloads
        self._emit = emit
        self._ticks_per_report = ticks_per_report
        self._clock, self._wall_clock_ns = clock, wall_clock_ns
        self._layouts = Layouts(node, clock(), host)
        self._intensities = intensities or Intensities(0)
        self._idle_power_mw = idle_power_mw or {}
        self._learnt: dict[tuple[str, str], IdleFloor] = {}
        self._domains: list[Domain] = []
        self._devices: list[Device] = []
        self._floors: list[tuple[int | IdleFloor, int]] = []
        # Of domains that a gauge measures.
        self._errors: dict[tuple[str, str], SamplingError] = {}
        # Which of the meters, and where among its domains, tells of each.
        self._gauges: list[tuple[int, int, SamplingError]] = []
        self._sampling = [(r, r.source) for r in self._readers if isinstance(r.source, Sampling)]
        self._arrange()
        self._findings = [f for _, probe in probed for f in probe.findings]
        self._ended: list[report_pb2.WorkloadEnd] = []
        self._offsets: tuple[int, ...] = ()
        self._unsure_us = 0
        self._layout = b""
        self._layout_hash = 0
        self._rows: list[list[int]] = []
        self._times_us: list[int] = []

    def _arrange(self) -> None:
        """Take up the domains and devices that there are, each domain with its floor, known or learnt."""
        self._domains = [d for r in self._readers for d in r.probe.domains]
        self._workloads.know_domains(frozenset(d.name for d in self._domains))
        # Several sources may tell of one device: a package's frequency, and its throttling.
        self._devices = list(dict.fromkeys(d for r in self._readers for d in r.probe.devices))
        place = {}
        at = 0
        for reader in self._readers:
            for series in reader.probe.series:
                if series.metric == metrics.METRIC_DOMAIN_ENERGY:
                    place[series.domain] = at
                at += 1
        self._floors = []
        for domain in self._domains:
            floor: int | IdleFloor | None = self._idle_power_mw.get(domain.name, domain.idle_power_mw)
            if floor is None:
                floor = self._learnt.setdefault((domain.name, domain.source), IdleFloor())
            self._floors.append((floor, place[domain.name]))
        known, self._errors, self._gauges = self._errors, {}, []
        for number, (reader, _) in enumerate(self._sampling):
            for at, domain in enumerate(reader.probe.domains):
                if domain.kind in _GAUGES:
                    key = (domain.name, domain.source)
                    error = self._errors[key] = known.get(key) or SamplingError()
                    self._gauges.append((number, at, error))

    @property
    def layout(self) -> bytes:
        """Return the serialised Layout in force."""
        return self._layout

    def findings(self) -> list[Finding]:
        """Return how the sources stood when they were probed, and what changed since the last Report."""
        return list(self._findings)

    def start(self) -> None:
        """Take the first readings: where the first interval begins."""
        now_us = self._clock()
        self._workloads.refresh(now_us)
        self._offsets = self._read_offsets()
        row = self._read_values(now_us)
        # What could not be read is left out until it can.
        self._arrange()
        row += self._floor_values(now_us, row) + self._error_values(now_us)
        self._offsets = self._read_offsets()
        self._begin(now_us, row + self._workloads.read(now_us))

    def _read_offsets(self) -> tuple[int, ...]:
        return tuple(offset for meter in self._meters for offset in meter.offsets_uj())

    def _read_sources(self, now_us: int) -> list[int]:
        row = self._read_values(now_us)
        return row + self._floor_values(now_us, row) + self._error_values(now_us)

    def _read_values(self, now_us: int) -> list[int]:
        row: list[int] = []
        for reader in self._readers:
            finding = reader.read(now_us)
            if finding is not None:
                self.note(finding)
            row += reader.last
        return row

    def _floor_values(self, now_us: int, row: list[int]) -> list[int]:
        return [f if isinstance(f, int) else f.update(now_us, row[place]) for f, place in self._floors]

    def _error_values(self, now_us: int) -> list[int]:
        if not self._errors:
            return []
        told = [meter.variances_nj2() for _, meter in self._sampling]
        return [error.update(now_us, told[number][at]) for number, at, error in self._gauges]

    def _change_sources(self, now_us: int) -> list[int] | None:
        """Take up what came and went; return the readings at which new series begin; None: no news."""
        news = [findings for reader in self._readers if (findings := reader.change(now_us)) is not None]
        if not news:
            return None
        for findings in news:
            for finding in findings:
                self.note(finding)
        stay = {(domain.name, domain.source) for domain in self._domains}
        self._arrange()
        self._offsets = self._read_offsets()
        row = [value for reader in self._readers for value in reader.last]
        for domain, (floor, place) in zip(self._domains, self._floors, strict=True):
            if isinstance(floor, int):
                row.append(floor)
            else:
                is_old = (domain.name, domain.source) in stay
                row.append(floor.power_mw if is_old else floor.resume(now_us, row[place]))
        return row + self._error_values(now_us)

    def note(self, finding: Finding) -> None:
        """Tell how a source stands with the next Report."""
        if finding.state not in (ABSENT, WORKING):
            told = f"{finding.reason}; {finding.fix}" if finding.fix else finding.reason
            _log.warning("%s: %s", finding.name, told)
        self._findings = [f for f in self._findings if f.name != finding.name] + [finding]

    def _begin(self, now_us: int, row: list[int]) -> None:
        """Begin a new layout at readings taken already."""
        series = [s for r in self._readers for s in r.probe.series]
        series += [Series(metrics.METRIC_DOMAIN_IDLE_POWER, domain=d.name) for d in self._domains]
        series += [Series(metrics.METRIC_DOMAIN_SAMPLING, domain=name) for name, _ in self._errors]
        workloads = self._workloads
        self._intensities.begin(series, self._domains, workloads.workloads, workloads.blocks)
        offset = dict(self._domain_offsets())
        self._layout = self._layouts.build(
            [(d, offset.get(d.name, 0)) for d in self._domains],
            self._devices,
            workloads.workloads,
            series,
            workloads.blocks,
            (*workloads.pair_series, *self._intensities.series),
        )
        self._layout_hash = layout_hash(self._layout)
        self._rows = [row]
        self._times_us = [now_us]

    def _domain_offsets(self) -> list[tuple[str, int]]:
        names = [
            d.name for m in self._meters for r in self._readers if r.source is m for d in r.probe.domains
        ]
        return list(zip(names, self._offsets, strict=True))

    def tick(self) -> None:
        """Read everything once; cut a Report when enough ticks are gathered."""
        now_us = self._clock()
        if now_us <= self._times_us[-1]:
            return
        fixed = len(self._rows[-1]) - len(self._workloads.series)
        if self._workloads.refresh(now_us):
            # The set changed since the last tick: the Report ends there, and the next begins there.
            self.cut()
            for error in self._errors.values():
                error.renew()
            self._begin(self._times_us[-1], self._rows[-1][:fixed] + self._workloads.baseline())
        row = self._read_sources(now_us)
        for source in self._telling:
            for finding in source.findings():
                self.note(finding)
        offsets = self._read_offsets()
        if offsets != self._offsets:
            self._offsets = offsets
            self.cut()
            self._begin(self._times_us[-1], self._rows[-1])
        # What ends with this tick is not told before it.
        self._take_ended()
        usage = self._workloads.read(now_us)
        if came := self._workloads.first_moved():
            # Who used a disk for the first time did so since the last tick: a Report ends there.
            self._cut()
            self._begin(self._times_us[-1], self._rows[-1] + [before for before, _ in came])
            usage += [now for _, now in came]
        self._rows.append(row + usage)
        self._times_us.append(now_us)
        if (begun := self._change_sources(now_us)) is not None:
            # The old series end with this tick, and the new ones begin there.
            self.cut()
            self._begin(now_us, begun + self._workloads.values())
        elif len(self._rows) > self._ticks_per_report:
            self.cut()

    def cut(self) -> None:
        """Send what was gathered as a Report; the next one begins at the last readings."""
        self._take_ended()
        self._cut()

    def _take_ended(self) -> None:
        for workload_id, end_unix_us, exit_status in self._workloads.ended():
            self._ended.append(
                report_pb2.WorkloadEnd(
                    workload_id=workload_id, end_unix_us=end_unix_us, exit_status=exit_status
                )
            )

    def _cut(self) -> None:
        times_us = self._times_us
        if len(times_us) < 2:
            return
        if (unsure_us := self._workloads.unsure_us) != self._unsure_us:
            self._unsure_us = unsure_us
            self.note(Finding("workloads.ended", WORKING, _UNSURE.format(unsure_us / 1e6)))
        # For each series where it began, and then by how much it changed in each interval.
        changes = [map(sub, after, before) for before, after in pairwise(self._rows)]
        values = list(chain.from_iterable(zip(self._rows[0], *changes, strict=True)))
        for value in self._intensities.learn(times_us, self._rows):
            # What is learnt of a Report holds for all of it.
            values += [value, *[0] * (len(times_us) - 1)]
        report = report_pb2.Report(
            node=self._node,
            boot=self._boot,
            sequence=times_us[0],
            layout_hash=self._layout_hash,
            realtime_offset_us=self._wall_clock_ns() // 1000 - self._clock(),
            interval_us=list(map(sub, times_us[1:], times_us)),
            values=values,
            ended=self._ended,
            sources=[
                report_pb2.SourceStatus(name=f.name, state=f.state, reason=f.reason, fix=f.fix)
                for f in self._findings
            ],
        )
        self._ended, self._findings = [], []
        self._rows = [self._rows[-1]]
        self._times_us = [times_us[-1]]
        self._emit(report, self._layout)
