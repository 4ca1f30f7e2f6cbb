"""Read Lustre: its client's mounts, and the targets that a server has (lprocfs; Lustre manual, part VI)."""

import re
from dataclasses import dataclass

from joulebook.agent.mending import fix_of
from joulebook.agent.source import Device, Metric, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.beside import Answered, Told, Unread, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

# "read_bytes 10 samples [bytes] 4096 1048576 5242880 1234": count, unit, least, most, sum, sum of squares.
_LINE = re.compile(rb"^\s*(\w+)\s+([0-9]+) samples \[(\w+)\](?: [0-9]+ [0-9]+ ([0-9]+))?", re.MULTILINE)
_SNAPSHOT = b"snapshot_time"
# lustre-ffff9bc043537800: the file system, and which mount of it.
_INSTANCE = re.compile(r"(.+)-([0-9a-f]{8,16})")
FACTS = SourceFacts(
    name="lustre",
    what="of each mount the bytes from and to servers, requests and their time; of each target that this node"
    " serves (OST, MDT) the bytes, requests, their time, capacity",
    where="`/sys/kernel/debug/lustre`, `/proc/fs/lustre`, `/sys/fs/lustre`: `osc/*/stats`, `mdc/*/stats`,"
    " `llite/*/stats`, `obdfilter/*/stats`, `mdt/*/md_stats`, `kbytestotal`, `kbytesfree`",
    unit="bytes, requests, µs",
    period="5 s, beside the tick",
    accuracy="exact; before Lustre 2.13 a target keeps no time of its requests",
    privilege="root, or `CAP_DAC_READ_SEARCH`, for debugfs",
    cost="beside the tick; p50 0.6 ms, p99 1.8 ms for a mount and 3 targets (files of a fixture)",
    documentation="Lustre Operations Manual, Monitoring a Lustre File System; wiki.lustre.org",
)


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of a stats file; total is in the unit, 0 where the line keeps none."""

    count: int
    unit: str
    total: int


def parse_stats(data: bytes) -> dict[str, Stat]:
    """Parse a stats file of Lustre. A file without its snapshot_time is none, or was cut."""
    if _SNAPSHOT not in data:
        raise ValueError(f"{data[:40]!r}: expected snapshot_time")
    return {
        match[1].decode(): Stat(int(match[2]), match[3].decode(), int(match[4] or 0))
        for match in _LINE.finditer(data)
    }


def _total(stats: dict[str, Stat], name: str) -> int:
    return stats[name].total if name in stats else 0


def _operations(stats: dict[str, Stat]) -> tuple[int, int]:
    """Return how many operations there were and the µs that they took, where these are kept."""
    # Bytes are counted by lines of their own, beside the operations that moved them in newer versions.
    of_time = [stat for stat in stats.values() if stat.unit in ("usec", "usecs")]
    counted = [stat for stat in stats.values() if stat.unit in ("reqs", "usec", "usecs")]
    moved = () if "read" in stats or "write" in stats else ("read_bytes", "write_bytes")
    count = sum(stat.count for stat in counted) + sum(stats[name].count for name in moved if name in stats)
    return count, sum(stat.total for stat in of_time)


class Lustre:
    """Ask the kernel of Lustre's mounts and targets."""

    name = "lustre"
    absent = "no Lustre"

    def __init__(self, roots: Roots) -> None:
        self._roots = (
            roots.sysfs / "kernel/debug/lustre",
            roots.procfs / "fs/lustre",
            roots.sysfs / "fs/lustre",
        )

    def is_there(self) -> bool:
        """Say whether Lustre's module is loaded: its sysfs or procfs directory is there for everybody."""
        return any(root.is_dir() for root in self._roots[1:])

    def ask(self) -> Answered:
        """Read all mounts and targets."""
        told: list[Told] = []
        unread: list[Unread] = []
        for room, prefix, kind, read in (
            ("llite", "lustre:", report_pb2.DEVICE_KIND_NETWORK_STORAGE, self._mount),
            ("obdfilter", "lustre.", report_pb2.DEVICE_KIND_STORAGE_DAEMON, self._ost),
            ("mdt", "lustre.", report_pb2.DEVICE_KIND_STORAGE_DAEMON, self._mdt),
        ):
            for entry in self._entries(room):
                name = device_name(prefix + entry)
                try:
                    told.append(Told(Device(name, kind), read(entry)))
                except PermissionError:
                    raise _UnreadableError from None
                except (OSError, ValueError) as error:
                    unread.append(Unread(name, str(error), fix_of(error)))
        return Answered(tuple(told), tuple(unread))

    def _entries(self, room: str) -> list[str]:
        """Return what a room has in any of the places, in which versions of Lustre differ."""
        found: set[str] = set()
        for root in self._roots:
            try:
                found |= {path.name for path in (root / room).iterdir() if path.is_dir()}
            except PermissionError:
                raise _UnreadableError from None
            except OSError:
                continue
        return sorted(found)

    def _stats(self, room: str, entry: str, file: str = "stats") -> dict[str, Stat]:
        return parse_stats(self._file(room, entry, file))

    def _file(self, room: str, entry: str, file: str) -> bytes:
        for root in self._roots[:-1]:
            try:
                return (root / room / entry / file).read_bytes()
            except FileNotFoundError:
                continue
        return (self._roots[-1] / room / entry / file).read_bytes()

    def _mount(self, entry: str) -> dict[Metric, int]:
        # What llite counts are the applications' calls, answered from the cache or not; what went over the
        # network is with the connections to each target, osc and mdc.
        match = _INSTANCE.fullmatch(entry)
        stats = [
            self._stats(room, name)
            for room in ("osc", "mdc")
            for name in self._entries(room)
            if match is not None and name.startswith(match[1] + "-") and name.endswith("-" + match[2])
        ]
        if not stats:
            local = self._stats("llite", entry)
            operations, wait_us = _operations(local)
            return _values(local, operations, wait_us)
        requests = [one["req_waittime"] for one in stats if "req_waittime" in one]
        sums = {
            name: Stat(0, "bytes", sum(_total(one, name) for one in stats))
            for name in ("read_bytes", "write_bytes")
        }
        return _values(sums, sum(r.count for r in requests), sum(r.total for r in requests))

    def _ost(self, entry: str) -> dict[Metric, int]:
        stats = self._stats("obdfilter", entry)
        operations, wait_us = _operations(stats)
        values: dict[Metric, int] = {
            m.METRIC_DEVICE_SERVED_READ: _total(stats, "read_bytes"),
            m.METRIC_DEVICE_SERVED_WRITTEN: _total(stats, "write_bytes"),
            m.METRIC_DEVICE_SERVED_OPERATIONS: operations,
            m.METRIC_DEVICE_SERVED_WAIT: wait_us,
        }
        try:
            size_kib = int(self._file("obdfilter", entry, "kbytestotal"))
            values[m.METRIC_DEVICE_CAPACITY_USED] = (
                size_kib - int(self._file("obdfilter", entry, "kbytesfree"))
            ) << 10
            values[m.METRIC_DEVICE_CAPACITY] = size_kib << 10
        except FileNotFoundError:
            pass
        return values

    def _mdt(self, entry: str) -> dict[Metric, int]:
        operations, wait_us = _operations(self._stats("mdt", entry, "md_stats"))
        return {m.METRIC_DEVICE_SERVED_OPERATIONS: operations, m.METRIC_DEVICE_SERVED_WAIT: wait_us}


class _UnreadableError(OSError):
    fix = "run the agent as root, or with CAP_DAC_READ_SEARCH: Lustre's statistics are in debugfs"

    def __str__(self) -> str:
        return "debugfs is not readable"


def _values(stats: dict[str, Stat], operations: int, wait_us: int) -> dict[Metric, int]:
    return {
        m.METRIC_DEVICE_FS_READ: _total(stats, "read_bytes"),
        m.METRIC_DEVICE_FS_WRITTEN: _total(stats, "write_bytes"),
        m.METRIC_DEVICE_FS_OPERATIONS: operations,
        m.METRIC_DEVICE_FS_WAIT: wait_us,
    }
