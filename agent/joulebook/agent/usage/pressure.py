"""Read how long tasks waited for CPU, memory and IO: /proc/pressure (Documentation/accounting/psi.rst)."""

import errno
import os
from collections.abc import Sequence

from joulebook.agent.counters import Counters, Trouble
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2

FIX_PSI = "boot with psi=1 on the kernel command line"

_OFF = "the kernel keeps no pressure stall information"
_FILES = ("cpu", "memory", "io")
# All of the time; the kernel adds up every two seconds, or when it is read.
_MOST_US = (3_000_000,) * 5
_SERIES = (
    Series(metrics_pb2.METRIC_NODE_PRESSURE_CPU_SOME),
    Series(metrics_pb2.METRIC_NODE_PRESSURE_MEMORY_SOME),
    Series(metrics_pb2.METRIC_NODE_PRESSURE_MEMORY_FULL),
    Series(metrics_pb2.METRIC_NODE_PRESSURE_IO_SOME),
    Series(metrics_pb2.METRIC_NODE_PRESSURE_IO_FULL),
)


def parse_some(data: bytes) -> int:
    """Parse the total µs of the "some" line, the first."""
    at = data.index(b"total=") + 6
    return int(data[at : data.find(b"\n", at)])


def parse_full(data: bytes) -> int:
    """Parse the total µs of the "full" line, the last."""
    return int(data[data.rindex(b"total=") + 6 :])


FACTS = SourceFacts(
    name="pressure",
    what="how long tasks waited for CPU, memory and IO",
    where="`/proc/pressure/{cpu,memory,io}`",
    unit="µs",
    period="at once",
    accuracy="exact",
    privilege="none",
    cost="11 µs",
    documentation="Documentation/accounting/psi.rst",
)


class PressureUsage:
    """Read the totals of pressure stall information."""

    name = "pressure"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.procfs / "pressure"
        self._fds: list[int] = []
        self._trouble = Trouble(self.name)
        self._counters = Counters(self._trouble, _MOST_US)
        self._now_us = 0

    def probe(self) -> Probe:
        """Open the files of /proc/pressure."""
        self.close()
        try:
            for name in _FILES:
                self._fds.append(os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC))
            self.read(0)
        except FileNotFoundError:
            self.close()
            return Probe(findings=(Finding(self.name, ABSENT, _OFF, FIX_PSI),))
        except (OSError, ValueError) as error:
            self.close()
            if isinstance(error, OSError) and error.errno == errno.EOPNOTSUPP:
                return Probe(findings=(Finding(self.name, ABSENT, _OFF, FIX_PSI),))
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), "mount procfs"),))
        return Probe(series=_SERIES, findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return the stall totals of CPU (some), memory (some, full) and IO (some, full)."""
        cpu, memory, io = self._fds
        memory_data = os.pread(memory, 256, 0)
        io_data = os.pread(io, 256, 0)
        self._now_us = now_us
        return self._counters.take(
            (
                parse_some(os.pread(cpu, 256, 0)),
                parse_some(memory_data),
                parse_full(memory_data),
                parse_some(io_data),
                parse_full(io_data),
            ),
            now_us,
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []
