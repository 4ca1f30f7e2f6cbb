"""Read huge pages: /sys/kernel/mm/hugepages/hugepages-*kB (Documentation/admin-guide/mm/hugetlbpage.rst)."""

import os
from collections.abc import Sequence

from joulebook.agent.counters import Trouble
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Finding, Probe, Roots, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2

_SERIES = (
    Series(metrics_pb2.METRIC_NODE_HUGEPAGES),
    Series(metrics_pb2.METRIC_NODE_HUGEPAGES_USED),
)
_TURNS = 5
_MOST_BYTES = 1 << 52


def parse_pages(total: bytes, free: bytes, size_bytes: int) -> tuple[int, int]:
    """Parse nr_hugepages and free_hugepages of one size into bytes set aside and bytes used."""
    pages, unused = int(total), int(free)
    if not (0 <= unused <= pages and pages * size_bytes <= _MOST_BYTES):
        raise ValueError(f"{pages} huge pages of {size_bytes} bytes, {unused} free: not believable")
    return pages * size_bytes, (pages - unused) * size_bytes


FACTS = SourceFacts(
    name="hugepages",
    what="huge pages of every size: set aside, and used",
    where="`/sys/kernel/mm/hugepages`",
    unit="pages",
    period="every fifth tick",
    accuracy="exact",
    privilege="none",
    cost="2 µs a size (files of a fixture), every fifth tick; not read where none are set aside at the start",
    documentation="Documentation/admin-guide/mm/hugetlbpage.rst",
)


class HugepagesUsage:
    """Read huge pages of every size, at every fifth tick. Where none are set aside it is absent."""

    name = "hugepages"

    def __init__(self, roots: Roots) -> None:
        self._directory = roots.sysfs / "kernel/mm/hugepages"
        # Size, descriptors of nr_hugepages and of free_hugepages.
        self._sizes: list[tuple[int, int, int]] = []
        self._values = (0, 0)
        self._turn = 0
        self._trouble = Trouble(self.name)
        self._now_us = 0

    def probe(self) -> Probe:
        """Open the files of every size."""
        self.close()
        try:
            for path in sorted(self._directory.iterdir()):
                kib = path.name.removeprefix("hugepages-").removesuffix("kB")
                if not kib.isdecimal():
                    continue
                total_fd = os.open(path / "nr_hugepages", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    free_fd = os.open(path / "free_hugepages", os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    os.close(total_fd)
                    raise
                self._sizes.append((int(kib) << 10, total_fd, free_fd))
            self._values = self._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.close()
            return Probe(findings=(Finding(self.name, UNREADABLE, str(error), "mount sysfs"),))
        if not self._values[0]:
            self.close()
            reason = "no huge pages are set aside; what is set aside later is seen at the agent's next start"
            return Probe(findings=(Finding(self.name, ABSENT, reason),))
        return Probe(series=_SERIES, findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return bytes set aside and bytes used."""
        self._now_us = now_us
        if self._turn == 0:
            try:
                self._values = self._read()
            except (OSError, ValueError) as error:
                self._trouble.add(str(error), now_us)
        self._turn = (self._turn + 1) % _TURNS
        return self._values

    def _read(self) -> tuple[int, int]:
        total_bytes = used_bytes = 0
        for size_bytes, total_fd, free_fd in self._sizes:
            # Free pages first: one that is set aside in between is never taken for a used one's negative.
            free = os.pread(free_fd, 32, 0)
            total, used = parse_pages(os.pread(total_fd, 32, 0), free, size_bytes)
            total_bytes += total
            used_bytes += used
        return total_bytes, used_bytes

    def findings(self) -> tuple[Finding, ...]:
        """Return what was dropped, where that is news."""
        finding = self._trouble.finding(self._now_us)
        return (finding,) if finding else ()

    def close(self) -> None:
        """Give the descriptors back."""
        for _, total_fd, free_fd in self._sizes:
            os.close(total_fd)
            os.close(free_fd)
        self._sizes, self._turn, self._values = [], 0, (0, 0)
