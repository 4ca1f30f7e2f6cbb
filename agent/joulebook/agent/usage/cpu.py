"""Read the node's CPU time: the first line of /proc/stat (proc_stat(5))."""

import os
from collections.abc import Sequence

from joulebook.agent.counters import Counters, Trouble
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2

# The line is at most "cpu" and ten numbers of 20 digits.
_LINE_BYTES = 256
# Ticks are counted when they end, and CPUs may come on line: 64 Ki CPUs are more than any machine has.
_MOST_US = ((1 << 16) * 1_000_000,) * 4
_SERIES = (
    Series(metrics_pb2.METRIC_NODE_CPU_BUSY),
    Series(metrics_pb2.METRIC_NODE_CPU_USER),
    Series(metrics_pb2.METRIC_NODE_CPU_SYSTEM),
    Series(metrics_pb2.METRIC_NODE_CPU_IOWAIT),
    Series(metrics_pb2.METRIC_NODE_CPU_STEAL),
)


def parse_stat(data: bytes) -> tuple[int, int, int, int]:
    """Parse /proc/stat's first line into ticks of user, system, iowait and steal time.

    Guest time is inside user and nice; interrupts are counted as system time. The numbers are: user nice
    system idle iowait irq softirq steal guest guest_nice.
    """
    cpu, user, nice, system, _, iowait, irq, softirq, steal, _ = data.split(None, 9)
    if cpu != b"cpu":
        raise ValueError(f"/proc/stat begins with {cpu!r}, expected b'cpu'")
    return int(user) + int(nice), int(system) + int(irq) + int(softirq), int(iowait), int(steal)


FACTS = SourceFacts(
    name="cpu",
    what="CPU time of the node: busy, user, system, waiting for IO, stolen",
    where="`/proc/stat`",
    unit="ticks of 10 ms",
    period="4 ms or the tick of the kernel",
    accuracy="exact to a tick",
    privilege="none",
    cost="11 µs",
    documentation="proc_stat(5)",
)


class CpuUsage:
    """Read CPU time; busy_us … steal_us are of the last read, logical_cpus the CPUs online at probe."""

    name = "cpu"

    def __init__(self, roots: Roots) -> None:
        self._path = roots.procfs / "stat"
        self._tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
        self._fd = -1
        self._most_bytes = _LINE_BYTES
        # What was read last: the first line, or with keep() every CPU's.
        self.data = b""
        self._trouble = Trouble(self.name)
        self._counters = Counters(self._trouble, _MOST_US)
        self._now_us = 0
        self.logical_cpus = 0
        self.busy_us = 0
        self.user_us = 0
        self.system_us = 0
        self.iowait_us = 0
        self.steal_us = 0

    def probe(self) -> Probe:
        """Open /proc/stat and count the logical CPUs."""
        self.close()
        try:
            self.logical_cpus = self._path.read_bytes().count(b"\ncpu")
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self.read(0)
        except FileNotFoundError:
            self.close()
            return Probe(findings=(Finding(self.name, ABSENT, f"no {self._path}"),))
        except (OSError, ValueError) as error:
            self.close()
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), "mount procfs"),))
        return Probe(series=_SERIES, findings=(Finding(self.name, WORKING),))

    @property
    def is_working(self) -> bool:
        """Say whether probe() found what can be read."""
        return self._fd >= 0

    def keep(self, most_bytes: int) -> None:
        """Read so much of /proc/stat from now on, and keep it in data. The kernel makes the whole anyway."""
        self._most_bytes = max(_LINE_BYTES, most_bytes)

    def read(self, now_us: int) -> Sequence[int]:
        """Return busy, user, system, iowait and steal time; what falls in the kernel stands still here."""
        self.data = os.pread(self._fd, self._most_bytes, 0)
        user, system, iowait, steal = parse_stat(self.data)
        tick_us = self._tick_us
        # The kernel says of these two that they may fall.
        waits = max(self.iowait_us, iowait * tick_us), max(self.steal_us, steal * tick_us)
        self._now_us = now_us
        self.user_us, self.system_us, self.iowait_us, self.steal_us = self._counters.take(
            (user * tick_us, system * tick_us, *waits), now_us
        )
        self.busy_us = self.user_us + self.system_us
        return self.busy_us, self.user_us, self.system_us, self.iowait_us, self.steal_us

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
