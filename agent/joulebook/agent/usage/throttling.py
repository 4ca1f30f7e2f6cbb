"""Read how often and how long packages and cores were slowed down by heat: thermal_throttle of each CPU.

Documentation/admin-guide/thermal/intel_thermal_throttle.rst; package_throttle_total_time_ms from Linux 5.7.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from joulebook.agent.counters import Counters, S, Trouble
from joulebook.agent.mending import fix_of
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.topology import Cpu, package_device, read_cpus
from joulebook.v1 import metrics_pb2

# So many cores are asked in a tick; all of them in turns. Packages are asked at every tick.
_A_TICK = 8
# The kernel counts a slowdown's time when it ends, so an hour may come at once: a day, once more each second.
_MOST_US = 86_400 * S
_MOST_TIMES = 100_000
_METRICS = (
    metrics_pb2.METRIC_DEVICE_CPU_THROTTLES,
    metrics_pb2.METRIC_DEVICE_CPU_THROTTLED,
    metrics_pb2.METRIC_DEVICE_CORE_THROTTLES,
)


class _Package:
    def __init__(self, number: int, times_fd: int, time_fd: int, trouble: Trouble) -> None:
        self.device = package_device(number)
        self.times_fd = times_fd
        self.time_fd = time_fd
        self.counters = Counters(trouble, (_MOST_TIMES, _MOST_US))
        self.core_times = 0


class _Core:
    def __init__(self, package: _Package, fd: int, trouble: Trouble) -> None:
        self.package = package
        self.fd = fd
        self.counters = Counters(trouble, (_MOST_TIMES,))

    def read(self, now_us: int) -> None:
        """Add what was counted since to the package."""
        (before,) = self.counters.values
        try:
            (now,) = self.counters.take((int(os.pread(self.fd, 32, 0)),), now_us)
        except (OSError, ValueError) as error:
            self.counters.miss(error, now_us)
            return
        self.package.core_times += now - before


FACTS = SourceFacts(
    name="throttling",
    what="how often and how long packages, and how often cores, were slowed down by heat",
    where="`/sys/devices/system/cpu/cpu*/thermal_throttle`",
    unit="times, ms",
    period="packages each tick, 8 cores a tick in turns; a slowdown's time is counted when it ends",
    accuracy="exact",
    privilege="none",
    cost="18 µs with two packages (files of a fixture); Intel alone has it",
    documentation="Documentation/admin-guide/thermal/intel_thermal_throttle.rst",
)


class ThrottlingUsage:
    """Read each package's throttling; its cores', a few of them a tick."""

    name = "throttling"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "devices/system/cpu"
        self._roots = roots
        self._packages: list[_Package] = []
        self._cores: list[_Core] = []
        self._next = 0
        self._trouble = Trouble(self.name)
        self._now_us = 0

    def probe(self) -> Probe:
        """Open the first CPU of each package and of each core."""
        self.close()
        findings = []
        packages: dict[int, _Package] = {}
        for cpu in read_cpus(self._roots):
            directory = self._directory / f"cpu{cpu.number}/thermal_throttle"
            try:
                if cpu.package not in packages:
                    packages[cpu.package] = self._open_package(cpu, directory)
                if cpu.is_first:
                    fd = os.open(directory / "core_throttle_count", os.O_RDONLY | os.O_CLOEXEC)
                    self._cores.append(_Core(packages[cpu.package], fd, self._trouble))
                    self._cores[-1].read(0)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                findings.append(
                    Finding(f"{self.name}:cpu{cpu.number}", UNREADABLE, str(error), fix_of(error))
                )
        if self._packages:
            findings.insert(0, Finding(self.name, WORKING))
        elif not findings:
            findings.append(Finding(self.name, ABSENT, "no thermal_throttle (it is Intel's)"))
        return Probe(
            series=tuple(Series(m, device=p.device.name) for p in self._packages for m in _METRICS),
            devices=tuple(package.device for package in self._packages),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return for each package how often and how long (µs) it was throttled, and how often its cores."""
        self._now_us = now_us
        for _ in range(min(_A_TICK, len(self._cores))):
            self._cores[self._next].read(now_us)
            self._next = (self._next + 1) % len(self._cores)
        values: list[int] = []
        for package in self._packages:
            try:
                times = int(os.pread(package.times_fd, 32, 0))
                time_ms = int(os.pread(package.time_fd, 32, 0)) if package.time_fd >= 0 else 0
                values += package.counters.take((times, time_ms * 1000), now_us)
            except (OSError, ValueError) as error:
                values += package.counters.miss(error, now_us)
            values.append(package.core_times)
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptors back."""
        for core in self._cores:
            os.close(core.fd)
        for package in self._packages:
            os.close(package.times_fd)
            if package.time_fd >= 0:
                os.close(package.time_fd)
        self._cores, self._packages, self._next = [], [], 0

    def _open_package(self, cpu: Cpu, directory: Path) -> _Package:
        times_fd = os.open(directory / "package_throttle_count", os.O_RDONLY | os.O_CLOEXEC)
        try:
            time_fd = os.open(directory / "package_throttle_total_time_ms", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # An older kernel counts, but keeps no time.
            time_fd = -1
        package = _Package(cpu.package, times_fd, time_fd, self._trouble)
        self._packages.append(package)
        return package
