"""Read memory by NUMA node: devices/system/node/node*/meminfo and numastat.

Documentation/ABI/stable/sysfs-devices-node, Documentation/admin-guide/numastat.rst.
"""

import os
from collections.abc import Sequence

from joulebook.agent.counters import Counters, Trouble
from joulebook.agent.mending import fix_of
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.topology import numa_device, numbered
from joulebook.v1 import metrics_pb2

# Levels are read at every fifth tick, the nodes in turns: each costs as much as the whole of /proc/meminfo.
_TURNS = 5
# 4 KiB pages of a TB a second, many times what a node's memory can be handed out at.
_MOST_PAGES = 1 << 28
_MOST_KIB = 1 << 42
_METRICS = (
    metrics_pb2.METRIC_DEVICE_NUMA_USED,
    metrics_pb2.METRIC_DEVICE_NUMA_FILE,
    metrics_pb2.METRIC_DEVICE_NUMA_LOCAL,
    metrics_pb2.METRIC_DEVICE_NUMA_REMOTE,
)


def parse_meminfo(data: bytes) -> tuple[int, int]:
    """Parse a node's meminfo ("Node 0 MemUsed: 1 kB") into bytes used and bytes of files' pages."""
    total, used, pages = (_kib(data, key) for key in (b" MemTotal:", b" MemUsed:", b" FilePages:"))
    if not (0 <= used <= total <= _MOST_KIB and 0 <= pages <= total):
        raise ValueError(f"{used} KiB used, {pages} of files: expected at most MemTotal, {total}")
    return used << 10, pages << 10


def _kib(data: bytes, key: bytes) -> int:
    at = data.find(key)
    end = data.find(b" kB", at)
    if at < 0 or end < 0:
        raise ValueError(f"no{key.decode()} in {len(data)} bytes")
    return int(data[at + len(key) : end])


def parse_numastat(data: bytes) -> tuple[int, int]:
    """Parse a node's numastat into pages that it gave to tasks on it, and to tasks on other nodes."""
    words = data.split()
    return int(words[words.index(b"local_node") + 1]), int(words[words.index(b"other_node") + 1])


class _Node:
    def __init__(self, device: Device, meminfo_fd: int, numastat_fd: int, trouble: Trouble) -> None:
        self.device = device
        self.meminfo_fd = meminfo_fd
        self.numastat_fd = numastat_fd
        self.levels = (0, 0)
        self.counters = Counters(trouble, (_MOST_PAGES, _MOST_PAGES))


FACTS = SourceFacts(
    name="numa",
    what="memory used and of files, pages given out locally and remotely, by NUMA node",
    where="`/sys/devices/system/node/node*/{meminfo,numastat}`",
    unit="KiB, pages",
    period="pages each tick, levels every fifth",
    accuracy="exact to what each CPU has not added up yet",
    privilege="none",
    cost="4 µs a node (files of a fixture); not read where there is one node",
    documentation="Documentation/admin-guide/numastat.rst, Documentation/ABI/stable/sysfs-devices-node",
)


class NumaUsage:
    """Read each NUMA node's memory, where there are two nodes or more: one alone is the whole machine's."""

    name = "numa"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "devices/system/node"
        self._nodes: list[_Node] = []
        self._turn = 0
        self._trouble = Trouble(self.name)
        self._now_us = 0

    def probe(self) -> Probe:
        """Open the files of each node."""
        self.close()
        entries = numbered(self._directory, "node")
        if len(entries) < 2:
            return Probe(findings=(Finding(self.name, ABSENT, "one NUMA node: its memory is the node's"),))
        findings = []
        for number, path in entries:
            fds: list[int] = []
            try:
                fds.append(os.open(path / "meminfo", os.O_RDONLY | os.O_CLOEXEC))
                fds.append(os.open(path / "numastat", os.O_RDONLY | os.O_CLOEXEC))
                node = _Node(numa_device(number), fds[0], fds[1], self._trouble)
                node.levels = parse_meminfo(os.pread(node.meminfo_fd, 4096, 0))
                parse_numastat(os.pread(node.numastat_fd, 512, 0))
            except (OSError, ValueError, IndexError) as error:
                for fd in fds:
                    os.close(fd)
                findings.append(Finding(f"{self.name}:{path.name}", UNREADABLE, str(error), fix_of(error)))
                continue
            self._nodes.append(node)
        if self._nodes:
            findings.insert(0, Finding(self.name, WORKING))
        return Probe(
            series=tuple(Series(m, device=node.device.name) for node in self._nodes for m in _METRICS),
            devices=tuple(node.device for node in self._nodes),
            findings=tuple(findings),
        )

    def read(self, now_us: int) -> Sequence[int]:
        """Return bytes used and of files, pages given out locally and remotely, of each node."""
        self._now_us = now_us
        turn, self._turn = self._turn, (self._turn + 1) % _TURNS
        values: list[int] = []
        for place, node in enumerate(self._nodes):
            try:
                if place % _TURNS == turn:
                    node.levels = parse_meminfo(os.pread(node.meminfo_fd, 4096, 0))
                pages = node.counters.take(parse_numastat(os.pread(node.numastat_fd, 512, 0)), now_us)
            except (OSError, ValueError, IndexError) as error:
                pages = node.counters.miss(error, now_us)
            values += node.levels
            values += pages
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptors back."""
        for node in self._nodes:
            os.close(node.meminfo_fd)
            os.close(node.numastat_fd)
        self._nodes, self._turn = [], 0
