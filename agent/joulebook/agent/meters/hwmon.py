"""Read the power and energy sensors of /sys/class/hwmon (Documentation/hwmon/sysfs-interface.rst)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from joulebook.agent.clock import boot_us
from joulebook.agent.mending import fix_of
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.gauges import Gauge, GaugeReader
from joulebook.agent.meters.health import Health
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.hwmon_gpus import IntelGpu, intel_gpu
from joulebook.agent.meters.hwmon_sensors import (
    INTEL_CHIPS,
    PACKAGE_ALONE_PPM,
    Sensor,
    choose,
    memory_held,
    parse_accuracy_ppm,
    read_zones,
)
from joulebook.agent.meters.sampled import Declared
from joulebook.agent.meters.series import energy_series
from joulebook.agent.slow import doubled_s
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.sysfs import text
from joulebook.agent.usage.topology import read_cpus
from joulebook.v1 import report_pb2

# Documentation/hwmon/amd_energy.rst and the GPU drivers keep 64-bit counters updated each millisecond.
_COUNTER_PERIOD_US = 1000
# POWER9's on-chip controller adds up watts at a rate of its own, by which firmware divides (skiboot,
# scale_energy()), and shows the sum ten times a second: a joule is more than its step.
_POWER9, _POWER9_PERIOD_US, _POWER9_STEP_UJ = "ibmpowernv", 100_000, 1_000_000
_POWER_PERIOD_US = 1_000_000
_TICK_US = 1_000_000
_HANG_UNIT_US = 1_000_000
_UW_A_MW = 1000
_NAMED = re.compile(r"([^=/]+/[^=]+)=(node|psys|(?:module|cpu|memory|gpu)\.[0-9]{1,5})")


@dataclass(slots=True)
class _Meter:
    sensor: Sensor
    domain: Domain
    fd: int
    counter: EnergyCounter | HeldPower | PowerIntegral
    health: Health
    # A counter takes µJ as they come; a gauge's µW are taken as mW.
    divisor: int
    # Where it is read between ticks.
    gauge: Gauge | None = None


class HwmonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.hwmon] of the configuration."""

    # Which domain a sensor measures that firmware alone names, as "CHIP/LABEL=DOMAIN":
    # "scmi_sensors/SYS_POW=node", "arm-scmi/SOC=cpu.0". `joulebook doctor` lists them.
    domains: list[str] = []

    def errors(self) -> list[str]:
        """Return what is wrong with the values."""
        return [
            f"domains: {each!r}: expected CHIP/LABEL=DOMAIN, with node, psys, or module, cpu, memory or gpu "
            "and a number, such as cpu.0"
            for each in self.domains
            if not _NAMED.fullmatch(each)
        ]

    def named(self) -> dict[str, str]:
        """Return the domains by CHIP/LABEL."""
        return {match[1]: match[2] for each in self.domains if (match := _NAMED.fullmatch(each))}


FACTS = SourceFacts(
    name="hwmon",
    what=(
        "power and energy sensors whose domain is known: the ACPI meter (`node`), Grace modules, "
        "sockets and rails, Ampere Altra's and X-Gene's sockets (cores and IO together), POWER9's chips "
        "(`cpu.N`) and system (`node`), AMD and Intel GPUs, amd_energy sockets; of what SCMI firmware names, "
        "what `agent.hwmon.domains` says"
    ),
    where="`/sys/class/hwmon/*/{energy,power}*_{input,average}`, `/sys/class/powercap/arm-scmi:*/power_uw`",
    unit="µJ, or µW integrated",
    period="counters 1 ms, POWER9's 100 ms; averages over `power*_average_interval`, else 1 s; read 10 times "
    "a second",
    accuracy="`power*_accuracy` where stated, else ±5 %; ±20 % of Arc A, whose package alone is counted",
    privilege="none; `CAP_DAC_READ_SEARCH` for amd_energy",
    cost="1.4 µs a sensor (files of a fixture); an ACPI meter as long as its firmware takes",
    documentation=(
        "Documentation/hwmon/sysfs-interface.rst, acpi_power_meter.rst, amd_energy.rst, xgene-hwmon.rst, "
        "ibmpowernv.rst; drivers/powercap/arm_scmi_powercap.c; skiboot, hw/occ-sensor.c; NVIDIA Grace "
        "Performance Tuning Guide"
    ),
)


class HwmonMeter:
    """Read the sensors whose domain is known; covered ones are left to others.

    Gauges are read between ticks, reads_per_s times a second, each at least twice in its averaging window;
    counters at ticks, and gauges too where reads_per_s is 0.
    """

    name = "hwmon"

    def __init__(
        self,
        roots: Roots,
        covered: frozenset[str] = frozenset(),
        *,
        reads_per_s: float = 0.0,
        config: HwmonConfig | None = None,
    ) -> None:
        self._directory = roots.sysfs / "class/hwmon"
        self._covered = covered
        self._reads_per_s = reads_per_s
        self._roots = roots
        self._named = (config or HwmonConfig()).named()
        # A domain's sensors; of most it is one.
        self._domains: list[tuple[_Meter, ...]] = []
        # Intel's cards, whose energy is read here.
        self.gpus: tuple[IntelGpu, ...] = ()
        self._reader = GaugeReader(self.name)

    def probe(self) -> Probe:
        """Open the best sensor of each domain."""
        known = {meter.sensor: meter.counter for meter in self._meters}
        self.close()
        zones = read_zones(self._roots.sysfs / "class/powercap")
        best, findings = choose(self._directory, self._covered, self._packages, self._named, zones)
        for domain, sensors in best.items():
            opened: list[_Meter] = []
            for sensor in sensors:
                try:
                    opened.append(self._open(domain, sensor, known))
                except (OSError, ValueError) as error:
                    reason = f"{sensor.path.name}: {error}"
                    findings.append(Finding(f"hwmon:{domain}", UNREADABLE, reason, fix_of(error)))
                    break
            if len(opened) == len(sensors):
                self._domains.append(tuple(opened))
            else:
                # A part of a domain is not the domain.
                for meter in opened:
                    os.close(meter.fd)
        self.gpus = tuple(
            intel_gpu(meter.domain.name, meter.sensor.device)
            for meter in self._meters
            if meter.sensor.chip in INTEL_CHIPS
        )
        self._reader.start([meter.gauge for meter in self._meters if meter.gauge is not None])
        if self._domains:
            findings.insert(0, Finding(self.name, WORKING))
        else:
            what = "whose domain is known" if findings else "of power or energy"
            findings.insert(0, Finding(self.name, ABSENT, f"no sensor {what}"))
        return Probe(
            series=energy_series(parts[0].domain.name for parts in self._domains),
            domains=tuple(map(_together, self._domains)),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return energy_uj and unread_us of each domain."""
        values = []
        self._reader.watch(now_us)
        for meters in self._domains:
            for meter in meters:
                _read(meter, now_us)
            values.append(sum(meter.counter.energy_uj for meter in meters))
            values.append(max(meter.counter.unread_us for meter in meters))
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call."""
        return tuple(finding for meter in self._meters for finding in meter.health.finding())

    def offsets_uj(self) -> tuple[int, ...]:
        """Return each domain's series value less its hardware counter."""
        return tuple(sum(meter.counter.offset_uj for meter in meters) for meters in self._domains)

    def variances_nj2(self) -> tuple[int, ...]:
        """Return how far off each domain's energy may be by being read at moments."""
        return tuple(sum(meter.counter.variance_nj2 for meter in meters) for meters in self._domains)

    def close(self) -> None:
        """Give the descriptors back."""
        # What a thread that hangs still reads may not become another file's descriptor.
        if self._reader.close():
            for meter in self._meters:
                os.close(meter.fd)
        self._domains = []

    def _packages(self) -> list[int]:
        return sorted({cpu.package for cpu in read_cpus(self._roots)})

    @property
    def _meters(self) -> list[_Meter]:
        return [meter for meters in self._domains for meter in meters]

    def _open(
        self, name: str, sensor: Sensor, known: dict[Sensor, EnergyCounter | HeldPower | PowerIntegral]
    ) -> _Meter:
        is_counter = sensor.kind == report_pb2.SOURCE_KIND_COUNTER
        stem = sensor.path.name.partition("_")[0]
        interval = text(sensor.path.with_name(f"{stem}_average_interval"))
        # ms, and at most a day.
        is_stated = interval.isdigit() and len(interval) < 9 and 0 < int(interval) <= 86_400_000
        power_period_us = int(interval) * 1000 if is_stated else _POWER_PERIOD_US
        is_power9 = sensor.chip == _POWER9
        counter_period_us = _POWER9_PERIOD_US if is_power9 else _COUNTER_PERIOD_US
        period_us = counter_period_us if is_counter else power_period_us
        step_uj = _POWER9_STEP_UJ if is_power9 else 1
        fd = os.open(sensor.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = int(os.pread(fd, 32, 0))
        except (OSError, ValueError):
            os.close(fd)
            raise
        # An average tells of its window; of a momentary value it is not known when it was taken.
        is_average = sensor.kind == report_pb2.SOURCE_KIND_AVERAGE_POWER
        declared: Declared = {"window_us": period_us} if is_average else {"period_us": period_us}
        gauge = None
        counter: EnergyCounter | HeldPower | PowerIntegral
        if not is_counter and self._reads_per_s:
            gauge = Gauge(fd, _UW_A_MW, self._every_us(sensor, period_us), declared=declared)
            if isinstance(before := known.get(sensor), HeldPower):
                gauge.power = before
            gauge.seed(raw, boot_us())
            counter = gauge.power
        else:
            made = EnergyCounter() if is_counter else PowerIntegral(**declared)
            counter = known.get(sensor) or made
        domain = Domain(
            name=name,
            source=self.name,
            kind=sensor.kind,
            # A gauge's step of 1 mW, held for a period.
            resolution_uj=step_uj if is_counter else max(1, period_us // 1000),
            period_us=period_us,
            accuracy_ppm=PACKAGE_ALONE_PPM
            if sensor.is_package
            else parse_accuracy_ppm(text(sensor.path.with_name(f"{stem}_accuracy"))),
            limit_mw=counter.limit_mw,
            holds=frozenset({memory_held(sensor)} - {""}),
        )
        health = Health(f"hwmon:{name}", name, counter)
        return _Meter(sensor, domain, fd, counter, health, 1 if is_counter else _UW_A_MW, gauge)

    def _every_us(self, sensor: Sensor, window_us: int) -> int:
        """Return the mean gap between reads: an average needs two a window, no more."""
        often_us = round(1_000_000 / self._reads_per_s)
        is_average = sensor.kind == report_pb2.SOURCE_KIND_AVERAGE_POWER
        return max(often_us, min(window_us // 2, _TICK_US)) if is_average else often_us


def _together(meters: Sequence[_Meter]) -> Domain:
    """Return the domain that sensors are together: of one kind, each as accurate as the others."""
    return replace(meters[0].domain, limit_mw=sum(meter.domain.limit_mw for meter in meters))


def _read(meter: _Meter, now_us: int) -> None:
    counter = meter.counter
    if isinstance(counter, HeldPower):
        _advance(meter, now_us)
        return
    try:
        counter.update(int(os.pread(meter.fd, 32, 0)) // meter.divisor, now_us)
    except (OSError, ValueError) as error:
        meter.health.error = str(error)
        counter.miss(now_us)


def _advance(meter: _Meter, now_us: int) -> None:
    gauge = meter.gauge
    assert gauge is not None
    gauge.advance(now_us)
    if gauge.hangs(now_us):
        hung_s = doubled_s(now_us - gauge.begun_us, _HANG_UNIT_US)
        meter.health.error = f"has not come back for {hung_s:g} s or more"
    elif gauge.error:
        meter.health.error = gauge.error
