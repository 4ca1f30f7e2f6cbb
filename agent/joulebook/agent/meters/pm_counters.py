"""Read the power management counters of HPE Cray nodes: /sys/cray/pm_counters."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.agent.mending import fix_of
from joulebook.agent.meters.counter import EnergyCounter
from joulebook.agent.meters.crosscheck import CrossCheck
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.pm_counters_files import energy_files, parse_number, parse_reading
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import report_pb2

_RESOLUTION_UJ = 1_000_000
_SCAN_HZ = 10
# HPE states 2 % and better for the input of its newest blades (EX254n, EX255a) and no bound for older ones.
_ACCURACY_PPM = 50_000
# No blade's node draws more; a lower ceiling finds impossible jumps.
_LIMIT_MW = 10_000_000
# The controller scans ten times a second; one that has not for this long does not watch.
_STALE_US = 3_000_000
# A scan takes place between two reads of freshness now and then, seldom twice.
_TRIES = 3
_FIX_CONTROLLER = (
    "look at the node's controller (nC): it has stopped to scan; its restart restarts the counters"
)


@dataclass(slots=True)
class _Meter:
    domain: Domain
    fd: int
    # Of the power that is shown beside the energy; -1: none is.
    power_fd: int
    counter: EnergyCounter
    health: Health
    check: CrossCheck


FACTS = SourceFacts(
    name="pm_counters",
    what=(
        "energy of an HPE Cray node (`node`), its CPU, memory and accelerators, as its controller counts it"
    ),
    where="`/sys/cray/pm_counters/*energy`",
    unit="J",
    period="100 ms (`raw_scan_hz`)",
    accuracy="±5 %; HPE states ±2 % for the newest blades",
    privilege="none",
    cost="p50 28 µs, p99 0.5 ms for 7 counters (files of a fixture)",
    documentation="HPE Cray EX hardware: Power Management Counters",
)


class PmCounters:
    """Read each domain's energy of one scan. Raises nothing: what cannot be read only misses."""

    name = "pm_counters"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "cray/pm_counters"
        self._meters: list[_Meter] = []
        self._freshness_fd = self._startup_fd = -1
        self._freshness = self._startup = -1
        self._fresh_us = -1

    def probe(self) -> Probe:
        """Open the energy files and those that tell of scans and restarts."""
        known = {meter.domain.name: meter.counter for meter in self._meters}
        self.close()
        try:
            names = os.listdir(self._directory)  # noqa: PTH208  (names are what is wanted)
        except OSError:
            return Probe(findings=(Finding(self.name, ABSENT, "no /sys/cray/pm_counters"),))
        findings = []
        try:
            self._freshness_fd = self._file("freshness")
            self._startup_fd = self._file("startup")
        except OSError as error:
            self.close()
            return Probe(findings=(_unreadable(self.name, error),))
        for domain, name in energy_files(names).items():
            try:
                self._open(domain, name, known)
            except (OSError, ValueError) as error:
                findings.append(_unreadable(f"{self.name}:{domain}", error, name))
        if self._meters:
            findings.insert(0, Finding(self.name, WORKING))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "pm_counters has no energy file"))
        return Probe(
            series=energy_series(meter.domain.name for meter in self._meters),
            domains=tuple(meter.domain for meter in self._meters),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each domain."""
        if not self._meters:
            return ()
        readings, reason = self._scan(now_us)
        values = []
        for place, meter in enumerate(self._meters):
            counter, health = meter.counter, meter.health
            reading = readings[place] if readings else reason
            if isinstance(reading, int):
                counter.update(reading, now_us)
                _compare(meter, now_us)
            else:
                health.error, health.fix = reading, _FIX_CONTROLLER if not readings else ""
                counter.miss(now_us)
                meter.check.miss()
            values.append(counter.energy_uj)
            values.append(counter.unread_us)
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for meter in self._meters for finding in meter.health.finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(meter.counter.offset_uj for meter in self._meters)

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self._freshness_fd, self._startup_fd, *self._fds()):
            if fd >= 0:
                os.close(fd)
        self._freshness_fd = self._startup_fd = -1
        self._meters = []

    def _scan(self, now_us: int) -> tuple[list[int | str], str]:
        """Return the readings of one scan in µJ, or what is wrong with each; none, and why, if stale."""
        readings: list[int | str] = []
        try:
            freshness = parse_number(os.pread(self._freshness_fd, 64, 0))
            for _ in range(_TRIES):
                startup = parse_number(os.pread(self._startup_fd, 64, 0))
                readings = [_energy_uj(meter.fd) for meter in self._meters]
                before, freshness = freshness, parse_number(os.pread(self._freshness_fd, 64, 0))
                if freshness == before:
                    break
        except (OSError, ValueError) as error:
            return [], f"freshness or startup: {error}"
        if freshness != self._freshness or startup != self._startup:
            self._fresh_us = now_us
        if startup != self._startup:
            if self._startup >= 0:
                self._restart(readings, now_us)
            self._startup = startup
        self._freshness = freshness
        stale_us = now_us - self._fresh_us
        if stale_us > _STALE_US:
            return [], f"stale: the controller has not scanned for {stale_us // 1_000_000} s"
        return readings, ""

    def _restart(self, readings: list[int | str], now_us: int) -> None:
        """Begin anew where the controller did: the counters' old values say nothing of the new ones."""
        for meter, reading in zip(self._meters, readings, strict=True):
            if isinstance(reading, int):
                meter.counter.restart(reading, now_us, "the node's controller restarted its counters")

    def _fds(self) -> list[int]:
        return [fd for meter in self._meters for fd in (meter.fd, meter.power_fd)]

    def _file(self, name: str) -> int:
        return os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)

    def _period_us(self) -> int:
        try:
            hz = parse_number((self._directory / "raw_scan_hz").read_bytes())
        except (OSError, ValueError):
            hz = _SCAN_HZ
        return 1_000_000 // (hz or _SCAN_HZ)

    def _open(self, name: str, file: str, known: dict[str, EnergyCounter]) -> None:
        fd = self._file(file)
        try:
            parse_reading(os.pread(fd, 64, 0), b"J")
        except (OSError, ValueError):
            os.close(fd)
            raise
        domain = Domain(
            name=name,
            source=self.name,
            kind=report_pb2.SOURCE_KIND_COUNTER,
            resolution_uj=_RESOLUTION_UJ,
            period_us=self._period_us(),
            accuracy_ppm=_ACCURACY_PPM,
            limit_mw=_LIMIT_MW,
            # One file for all packages, or all memory.
            holds=frozenset({file.partition("_")[0]} & {"cpu", "memory"}),
        )
        counter = known.get(name) or EnergyCounter(limit_mw=_LIMIT_MW)
        health = Health(f"{self.name}:{name}", name, counter)
        power_fd = self._power_fd(file) if name == "node" else -1
        self._meters.append(_Meter(domain, fd, power_fd, counter, health, CrossCheck(counter)))

    def _power_fd(self, file: str) -> int:
        """Open the power beside an energy file; -1: there is none that can be read."""
        try:
            return self._file(file.removesuffix("energy") + "power")
        except OSError:
            return -1


def _compare(meter: _Meter, now_us: int) -> None:
    """Hold the counter against the power that is shown: one of them may be wrong, or stand still."""
    if meter.power_fd < 0:
        return
    try:
        power_mw = parse_reading(os.pread(meter.power_fd, 64, 0), b"W") * 1000
    except (OSError, ValueError):
        meter.check.miss()
        return
    meter.check.update(power_mw, now_us)
    meter.health.suspicion, meter.health.off_ppm = meter.check.suspicion, meter.check.off_ppm


def _energy_uj(fd: int) -> int | str:
    try:
        return parse_reading(os.pread(fd, 64, 0), b"J") * 1_000_000
    except (OSError, ValueError) as error:
        return str(error)


def _unreadable(name: str, error: Exception, file: str = "") -> Finding:
    reason = f"{file}: {error}" if file else str(error)
    return Finding(name, UNREADABLE, reason, fix_of(error))
