"""Read CPU time by package and NUMA node: the cpu lines of /proc/stat (proc_stat(5))."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter

from joulebook.agent.counters import Counters, Trouble
from joulebook.agent.source import ABSENT, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.topology import Cpu, numa_device, package_device, read_cpus
from joulebook.v1 import metrics_pb2

# A label and ten numbers: user nice system idle iowait irq softirq steal guest guest_nice.
_COLUMNS = 11
_BUSY = (1, 2, 3, 6, 7)
_BYTES_A_CPU = 128
# Ticks are counted when they end: a little more than the time itself may fall into an interval.
_MOST_US_A_CPU = 1_200_000
# With more CPUs than this the lines are parsed at every second tick, at every third, …
_CPUS_A_TICK = 64


def parse_lines(data: bytes) -> list[bytes]:
    """Parse the lines cpu0, cpu1, … of /proc/stat into words, eleven a CPU."""
    begin = data.find(b"\ncpu")
    end = data.find(b"\nintr", begin)
    if begin < 0 or end < 0:
        raise ValueError(f"/proc/stat: no lines of CPUs before intr in {len(data)} bytes")
    words = data[begin:end].split()
    if len(words) % _COLUMNS:
        raise ValueError(f"/proc/stat: {len(words)} words in the lines of CPUs, expected {_COLUMNS} a CPU")
    return words


def _none(_: list[bytes]) -> tuple[bytes, ...]:
    return ()


class _Cell:
    """The CPUs of one package and one NUMA node."""

    def __init__(self, cpus: Sequence[Cpu]) -> None:
        self.labels = [b"cpu%d" % cpu.number for cpu in cpus]
        self.pick: Callable[[list[bytes]], tuple[bytes, ...]] = _none

    def place(self, labels: list[bytes]) -> None:
        """Note where in the words the busy time of this cell's CPUs stands."""
        mine = set(self.labels)
        rows = [row for row, label in enumerate(labels) if label in mine]
        places = [row * _COLUMNS + column for row in rows for column in _BUSY]
        self.pick = itemgetter(*places) if places else _none


FACTS = SourceFacts(
    name="packages",
    what="CPU time by package (`cpu.N`) and NUMA node (`numa.N`)",
    where="`/proc/stat`, as `cpu` read it; `/sys/devices/system/{cpu,node}`",
    unit="ticks of 10 ms",
    period="4 ms or the tick of the kernel; read at every tick for 64 CPUs, every second for 128, …",
    accuracy="exact to a tick; what a CPU counts in the tick in which it goes off line is lost",
    privilege="none",
    cost="0.2 µs with one package, else 1 µs a CPU, 64 µs a tick on the average at most",
    documentation="proc_stat(5), Documentation/ABI/stable/sysfs-devices-system-cpu",
)


class PackageUsage:
    """Share out what the source `cpu` read just before: it is told to read every CPU's line.

    Where there is one package and one NUMA node, their time is the node's, and nothing more is read.
    """

    name = "packages"

    def __init__(self, roots: Roots, cpu: CpuUsage) -> None:
        self._roots = roots
        self._cpu = cpu
        self._tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
        self._cells: list[_Cell] = []
        self._labels: list[bytes] = []
        # For each series the cells that it adds up.
        self._sums: list[list[int]] = []
        self._counters: list[Counters] = []
        self._trouble = Trouble(self.name)
        self._now_us = 0
        self._turns = 1
        self._turn = 0
        self._values: list[int] = []

    def probe(self) -> Probe:
        """Find packages and NUMA nodes. The source `cpu` was probed before."""
        cpus = read_cpus(self._roots) if self._cpu.is_working else []
        if not cpus:
            return Probe(findings=(Finding(self.name, ABSENT, "no CPUs in sysfs, or no CPU time"),))
        cells: dict[tuple[int, int], list[Cpu]] = defaultdict(list)
        for cpu in cpus:
            cells[cpu.package, cpu.numa].append(cpu)
        keys = sorted(cells)
        self._cells = [_Cell(cells[key]) for key in keys]
        self._sums, devices = [], []
        sizes = []

        def add(device: Device, places: list[int]) -> None:
            devices.append(device)
            self._sums.append(places)
            sizes.append(sum(len(cells[keys[place]]) for place in places))

        for package in sorted({package for package, _ in keys}):
            add(package_device(package), [i for i, key in enumerate(keys) if key[0] == package])
        for numa in sorted({numa for _, numa in keys if numa >= 0}) if len(keys) > 1 else ():
            add(numa_device(numa), [i for i, key in enumerate(keys) if key[1] == numa])
        self._counters = [Counters(self._trouble, (_MOST_US_A_CPU * size,)) for size in sizes]
        self._turns, self._turn = max(1, -(-len(cpus) // _CPUS_A_TICK)), 0
        if len(keys) > 1:
            self._cpu.keep(_BYTES_A_CPU * (len(cpus) + 2))
        series = tuple(Series(metrics_pb2.METRIC_DEVICE_CPUS_BUSY, device=d.name) for d in devices)
        return Probe(series=series, devices=tuple(devices), findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return busy µs of each package, then of each NUMA node."""
        self._now_us = now_us
        if len(self._cells) == 1:
            return (self._cpu.busy_us,)
        turn, self._turn = self._turn, (self._turn + 1) % self._turns
        if turn and self._values:
            return self._values
        words = parse_lines(self._cpu.data)
        labels = words[::_COLUMNS]
        is_other = labels != self._labels
        if is_other:
            # CPUs went on or off line; those that are off are not listed, with all that they counted.
            self._labels = labels
            for cell in self._cells:
                cell.place(labels)
        tick_us = self._tick_us
        busy = [sum(map(int, cell.pick(words))) * tick_us for cell in self._cells]
        self._values = values = []
        for counters, places in zip(self._counters, self._sums, strict=True):
            raw = (busy[places[0]] if len(places) == 1 else sum(busy[place] for place in places),)
            take = counters.begin_again if is_other and counters.values[0] else counters.take
            values.append(take(raw, now_us)[0])
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give nothing back: the source `cpu` holds the descriptor."""
