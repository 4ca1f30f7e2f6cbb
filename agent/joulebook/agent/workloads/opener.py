"""Opens the figures of a cgroup, each where this kernel keeps it."""

import errno
import os
from collections.abc import Callable, Mapping
from functools import partial

from joulebook.agent.source import Metric, Roots
from joulebook.agent.workloads import figures
from joulebook.agent.workloads.column import CPU, IO, MEMORY, FileColumn, Member, Past
from joulebook.agent.workloads.disk_users import Devices, IoColumn, total_of
from joulebook.agent.workloads.hierarchy import Controller, Hierarchies

_NUMBER_BYTES = 32
_CPU_STAT_BYTES = 64  # the first line is enough
_IO_BYTES = 65536
_FIRST_LINES_BYTES = 128

# The last is how many of the file's unit go into one of the series'.
_Opener = tuple[Metric, Controller, Callable[[bytes], int], int, int]


class Figures:
    """Opens the figures of one cgroup, each where this kernel keeps it."""

    def __init__(
        self, roots: Roots, hierarchies: Hierarchies, disks: Mapping[bytes, str] | None = None
    ) -> None:
        """disks: the domain of each disk by its number ("8:0"), for which a group's IO is told apart."""
        # Of a single one it is told by what the group did in all.
        self._disks = disks if disks and len(set(disks.values())) > 1 else {}
        try:
            layered = figures.parse_layered_majors((roots.procfs / "devices").read_bytes())
        except OSError:
            layered = frozenset()
        cpu, memory, io = hierarchies.cpu, hierarchies.memory, hierarchies.io
        self._openers: list[_Opener] = []
        if cpu:
            if cpu.file == "cpu.stat":
                self._openers.append((CPU, cpu, figures.parse_cpu_stat_us, _CPU_STAT_BYTES, 1))
            else:
                self._openers.append((CPU, cpu, figures.parse_cpuacct_usage_ns, _NUMBER_BYTES, 1000))
        if memory:
            self._openers.append((MEMORY, memory, figures.parse_memory_bytes, _NUMBER_BYTES, 1))
        if io:
            parse_io = figures.parse_io_stat_bytes if io.file == "io.stat" else figures.parse_blkio_bytes
            self._parse_io: Callable[[bytes], Devices] = partial(parse_io, layered=layered)
            self._openers.append((IO, io, partial(total_of, self._parse_io), _IO_BYTES, 1))
        self.error: OSError | None = None

    def open(self, paths: str | Mapping[str, str], member: Member, past: Past, *, fresh: bool) -> bool:
        """Add the columns that the member has not and the kernel has; say whether there were any.

        paths: one for all hierarchies, or one by hierarchy.
        """
        there = {column.metric for column in member.columns}
        opened = False
        for metric, controller, parse, size, per in self._openers:
            path = paths if isinstance(paths, str) else paths.get(controller.key)
            if metric in there or path is None:
                continue
            file = f"{controller.root}{path}/{controller.file}"
            if metric == IO and controller.key and not _counts_io(file):
                continue
            base = past.value(member.workload.id, metric)
            try:
                if metric == IO and self._disks:
                    column: FileColumn = IoColumn(
                        member, file, self._parse_io, size, self._disks, past, base=base, fresh=fresh
                    )
                else:
                    column = FileColumn(metric, file, parse, size, per=per, base=base, fresh=fresh)
            except ValueError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
                    self.error = error
                continue
            member.columns.append(column)
            opened = True
        return opened

    def open_cpu(self, path: str, fresh: bool) -> FileColumn | None:
        """Open the CPU time of a group that is no workload of its own; None where it cannot be read."""
        return self._open_one(CPU, path, fresh=fresh)

    def open_above(self, metric: Metric, path: str) -> FileColumn | None:
        """Open a figure of a group that holds those of all groups below it; None where there is none such."""
        controller = next((each for of, each, *_ in self._openers if of == metric), None)
        if controller is None or (metric != CPU and controller.key and not _is_sum(metric, controller, path)):
            return None
        return self._open_one(metric, path, fresh=False)

    def _open_one(self, of: Metric, path: str, *, fresh: bool) -> FileColumn | None:
        for metric, controller, parse, size, per in self._openers:
            if metric == of:
                file = f"{controller.root}{path}/{controller.file}"
                try:
                    return FileColumn(metric, file, parse, size, per=per, base=0, fresh=fresh)
                except (OSError, ValueError):
                    break
        return None


def _is_sum(metric: Metric, controller: Controller, path: str) -> bool:
    """Say whether a v1 group's figure holds those below: of memory it is for old kernels to choose."""
    # v1 adds up the IO of the groups that there are, so that it falls when one goes.
    if metric != MEMORY:
        return False
    try:
        return (controller.directory(path) / "memory.use_hierarchy").read_bytes().strip() == b"1"
    except OSError:
        return False


def _counts_io(file: str) -> bool:
    # v1 counts nothing, and lists no device, until the group has a throttle rule.
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(fd, _FIRST_LINES_BYTES, 0).count(b"\n") > 1
    except OSError:
        return False
    finally:
        os.close(fd)
