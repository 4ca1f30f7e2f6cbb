"""Opens the figures of a cgroup, each where this kernel keeps it."""

import errno
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from joulebook.agent.source import Metric, Roots
from joulebook.agent.workloads import figures
from joulebook.agent.workloads.column import CPU, IO, MEMORY, FileColumn, Member, Past
from joulebook.agent.workloads.hierarchy import Controller, Hierarchies

_NUMBER_BYTES = 32
_CPU_STAT_BYTES = 64  # the first line is enough
_IO_BYTES = 65536

_Opener = tuple[Metric, Controller, Callable[[bytes], int], int]


class Figures:
    """Opens the figures of one cgroup, each where this kernel keeps it."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies) -> None:
        try:
            layered = figures.parse_layered_majors((roots.procfs / "devices").read_bytes())
        except OSError:
            layered = frozenset()
        cpu, memory, io = hierarchies.cpu, hierarchies.memory, hierarchies.io
        self._openers: list[_Opener] = []
        if cpu:
            v2 = cpu.file == "cpu.stat"
            parse = figures.parse_cpu_stat_us if v2 else figures.parse_cpuacct_usage_us
            self._openers.append((CPU, cpu, parse, _CPU_STAT_BYTES if v2 else _NUMBER_BYTES))
        if memory:
            self._openers.append((MEMORY, memory, figures.parse_memory_bytes, _NUMBER_BYTES))
        if io:
            parse_io = figures.parse_io_stat_bytes if io.file == "io.stat" else figures.parse_blkio_bytes
            self._openers.append((IO, io, partial(parse_io, layered=layered), _IO_BYTES))
        self.error: OSError | None = None

    def open(self, paths: str | Mapping[str, str], member: Member, past: Past, *, fresh: bool) -> bool:
        """Add the columns that the member has not and the kernel has; say whether there were any.

        paths: one for all hierarchies, or one by hierarchy.
        """
        there = {column.metric for column in member.columns}
        opened = False
        for metric, controller, parse, size in self._openers:
            path = paths if isinstance(paths, str) else paths.get(controller.key)
            if metric in there or path is None:
                continue
            file = controller.directory(path) / controller.file
            if metric == IO and controller.key and not _counts_io(file):
                continue
            base = past.value(member.workload.id, metric)
            try:
                member.columns.append(FileColumn(metric, file, parse, size, base=base, fresh=fresh))
            except ValueError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
                    self.error = error
                continue
            opened = True
        return opened

    def open_cpu(self, path: str, fresh: bool) -> FileColumn | None:
        """Open the CPU time of a group that is no workload of its own; None where it cannot be read."""
        metric, controller, parse, size = self._openers[0]
        file = controller.directory(path) / controller.file
        try:
            return FileColumn(metric, file, parse, size, base=0, fresh=fresh)
        except (OSError, ValueError):
            return None


def _counts_io(file: Path) -> bool:
    # v1 counts nothing, and lists no device, until the group has a throttle rule.
    try:
        return len(file.read_bytes().splitlines()) > 1
    except OSError:
        return False
