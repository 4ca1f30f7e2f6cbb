"""Read the node's memory: /proc/meminfo (proc_meminfo(5))."""

import os
from collections.abc import Sequence

from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2

_SERIES = (
    Series(metrics_pb2.METRIC_NODE_MEMORY_USED),
    Series(metrics_pb2.METRIC_NODE_MEMORY_CACHED),
    Series(metrics_pb2.METRIC_NODE_SWAP_USED),
)
_MOST_KIB = 1 << 50
_MOST_KIB = 1 << 40
_HEAD = (b"MemTotal:", b"MemAvailable:", b"Buffers:", b"Cached:")


def _kib(data: bytes, key: bytes) -> int:
    at = data.find(key)
    if at < 0:
        raise ValueError(f"/proc/meminfo has no {key.decode().strip()}")
    return int(data[at + len(key) : data.find(b" kB", at)])


def parse_meminfo(data: bytes) -> tuple[int, int, int, int]:
    """Parse /proc/meminfo into KiB: total, used, cached with reclaimable slab, swap used."""
    # The first five lines are MemTotal, MemFree, MemAvailable, Buffers, Cached since Linux 3.14.
    head = data.split(None, 15)
    if len(head) < 16 or (head[0], head[6], head[9], head[12]) != _HEAD:
        raise ValueError(f"/proc/meminfo begins with {data[:120]!r}, expected MemTotal … Cached")
    total_kib = int(head[1])
    if not 0 < total_kib < _MOST_KIB:
        raise ValueError(f"/proc/meminfo: MemTotal of {len(head[1])} digits, expected less than a PiB")
    rest = head[15]
    cached_kib = int(head[10]) + int(head[13]) + _kib(rest, b"\nSReclaimable:")
    swap_kib = _kib(rest, b"\nSwapTotal:") - _kib(rest, b"\nSwapFree:")
    used_kib = total_kib - int(head[7])
    is_less_than_none = min(used_kib, cached_kib, swap_kib) < 0
    if is_less_than_none or used_kib > total_kib or max(total_kib, cached_kib, swap_kib) > _MOST_KIB:
        raise ValueError(
            f"/proc/meminfo: {used_kib} KiB used and {cached_kib} cached of {total_kib}, {swap_kib} of swap:"
            " not believable"
        )
    return total_kib, used_kib, cached_kib, swap_kib


FACTS = SourceFacts(
    name="memory",
    what="memory used and cached, swap used",
    where="`/proc/meminfo`",
    unit="KiB",
    period="at once",
    accuracy="exact, but for what each CPU has not added up yet",
    privilege="none",
    cost="8 µs",
    documentation="proc_meminfo(5)",
)


class MemoryUsage:
    """Read memory in use; total_bytes holds the memory that the kernel manages."""

    name = "memory"

    def __init__(self, roots: Roots) -> None:
        self._path = roots.procfs / "meminfo"
        self._fd = -1
        self.total_bytes = 0

    def probe(self) -> Probe:
        """Open /proc/meminfo."""
        self.close()
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self.read(0)
        except FileNotFoundError:
            self.close()
            return Probe(findings=(Finding(self.name, ABSENT, f"no {self._path}"),))
        except (OSError, ValueError) as error:
            self.close()
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), "mount procfs"),))
        return Probe(series=_SERIES, findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:  # noqa: ARG002  # gauges need no clock
        """Return bytes of memory used, cached and of swap used."""
        total_kib, used_kib, cached_kib, swap_kib = parse_meminfo(os.pread(self._fd, 2048, 0))
        self.total_bytes = total_kib << 10
        return used_kib << 10, cached_kib << 10, swap_kib << 10

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
