"""Read the CPUs' frequency: cpufreq/scaling_cur_freq (Documentation/admin-guide/pm/cpufreq.rst)."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence

from joulebook.agent.counters import Trouble
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.topology import package_device, read_cpus
from joulebook.v1 import metrics_pb2

# So many CPUs are asked in a tick; all of them in turns.
_A_TICK = 8
# Before Linux 5.18 an x86 kernel interrupts the CPU and sleeps 10 ms to measure, which no tick waits for.
_PATIENCE_NS = 1_000_000
_TRIES = 3
_MOST_KHZ = 20_000_000


def parse_khz(data: bytes) -> int:
    """Parse a frequency in kHz; "<unknown>", 0 and what no CPU reaches are ValueErrors."""
    khz = int(data)
    if not 0 < khz <= _MOST_KHZ:
        raise ValueError(f"frequency {khz} kHz: expected 1 to {_MOST_KHZ}")
    return khz


class _Core:
    def __init__(self, package: int, fd: int, khz: int) -> None:
        self.package = package
        self.fd = fd
        self.khz = khz


FACTS = SourceFacts(
    name="frequency",
    what="mean frequency of each package's cores",
    where="`/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq`",
    unit="kHz",
    period="8 cores a tick, in turns; x86 from Linux 5.18 tells the mean since the kernel's last tick",
    accuracy="a moment's, not the mean since the last read; exact as that",
    privilege="none",
    cost="13 µs (files of a fixture); a kernel that needs more than 1 ms for one CPU is not asked",
    documentation="Documentation/admin-guide/pm/cpufreq.rst",
)


class FrequencyUsage:
    """Read the mean frequency of each package's cores, a few of them a tick."""

    name = "frequency"

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._cores: list[_Core] = []
        self._next = 0
        self._sums_khz: list[int] = []
        self._counts: list[int] = []
        self._trouble = Trouble(self.name)
        self._now_us = 0

    def probe(self) -> Probe:
        """Open one CPU of each core."""
        self.close()
        refused = ""
        packages: dict[int, list[_Core]] = defaultdict(list)
        for cpu in read_cpus(self._roots):
            if not cpu.is_first:
                continue
            path = self._roots.sysfs / f"devices/system/cpu/cpu{cpu.number}/cpufreq/scaling_cur_freq"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:
                refused = f"{path}: {error.strerror}"
                continue
            try:
                khz = parse_khz(os.pread(fd, 32, 0))
            except (OSError, ValueError) as error:
                os.close(fd)
                refused = f"{path}: {error}"
                continue
            packages[cpu.package].append(_Core(0, fd, khz))
        numbers = sorted(packages)
        for place, number in enumerate(numbers):
            for core in packages[number]:
                core.package = place
                self._cores.append(core)
        if not self._cores:
            if refused:
                return Probe(
                    findings=(Finding(self.name, UNREADABLE, refused, "look into the kernel's log"),)
                )
            return Probe(findings=(Finding(self.name, ABSENT, "no cpufreq driver"),))
        if (taken_ns := self._taken_ns()) > _PATIENCE_NS:
            self.close()
            reason = f"this kernel takes {taken_ns / 1e6:.1f} ms to tell one CPU's frequency"
            return Probe(findings=(Finding(self.name, UNREADABLE, reason, "Linux 5.18 tells it at once"),))
        self._sums_khz = [sum(core.khz for core in packages[number]) for number in numbers]
        self._counts = [len(packages[number]) for number in numbers]
        devices: list[Device] = [package_device(number) for number in numbers]
        series = tuple(Series(metrics_pb2.METRIC_DEVICE_CPU_FREQUENCY, device=d.name) for d in devices)
        return Probe(series=series, devices=tuple(devices), findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return the mean kHz of each package. A CPU that went off line keeps its last value."""
        self._now_us = now_us
        cores = self._cores
        for _ in range(min(_A_TICK, len(cores))):
            core = cores[self._next]
            self._next = (self._next + 1) % len(cores)
            try:
                khz = parse_khz(os.pread(core.fd, 32, 0))
            except (OSError, ValueError) as error:
                self._trouble.add(str(error), now_us)
                continue
            self._sums_khz[core.package] += khz - core.khz
            core.khz = khz
        return [total // count for total, count in zip(self._sums_khz, self._counts, strict=True)]

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptors back."""
        for core in self._cores:
            os.close(core.fd)
        self._cores = []
        self._next = 0

    def _taken_ns(self) -> int:
        taken = []
        for _ in range(_TRIES):
            began_ns = time.monotonic_ns()
            os.pread(self._cores[0].fd, 32, 0)
            taken.append(time.monotonic_ns() - began_ns)
        return min(taken)
