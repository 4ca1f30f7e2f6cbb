"""Read CephFS mounts of the kernel: debugfs, ceph/*/metrics (fs/ceph/debugfs.c).

Images that the kernel maps (rbd0, …) are in the source `disks`, as virtual disks.
"""

from pathlib import Path

from joulebook.agent.mending import fix_of
from joulebook.agent.source import Device, Metric, Roots
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage.beside import Answered, Told, Unread, device_name
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

_REQUESTS, _WAIT = m.METRIC_DEVICE_FS_OPERATIONS, m.METRIC_DEVICE_FS_WAIT
_ITEMS = ("read", "write", "metadata", "copyfrom")
FACTS = SourceFacts(
    name="cephfs",
    what="bytes, requests and their time of each CephFS mount of the kernel",
    where="`/sys/kernel/debug/ceph/*/metrics`, from Linux 5.18 `metrics/{latency,size}`",
    unit="requests, µs, bytes",
    period="5 s, beside the tick",
    accuracy="bytes (from Linux 5.13) and requests exact; times to a µs a request, as their mean",
    privilege="root, or `CAP_DAC_READ_SEARCH`, for debugfs",
    cost="beside the tick; p50 0.3 ms, p99 0.9 ms for 2 mounts (files of a fixture)",
    documentation="fs/ceph/debugfs.c, fs/ceph/metric.c",
)


def parse_tables(data: bytes) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Parse the tables of latency and size: each item's numbers. A table begins with "item" and its columns.

    Latency: total, mean, least, most, deviation (µs). Size: total, mean, least, most, sum (bytes).
    """
    latency: dict[str, list[int]] = {}
    size: dict[str, list[int]] = {}
    table: dict[str, list[int]] | None = None
    for line in data.decode(errors="replace").splitlines():
        words = line.split()
        if line.startswith("item"):
            table = latency if "avg_lat(us)" in line else size if "avg_sz(bytes)" in line else None
        elif table is not None and words and words[0] in _ITEMS:
            # The deviation may have a fraction; it is not read.
            table[words[0]] = [int(word.partition(".")[0]) for word in words[1:]]
    if not {"read", "write"} <= set(latency) or any(len(numbers) < 2 for numbers in latency.values()):
        raise ValueError(f"{data[:40]!r}: expected a table of latencies of read and write")
    return latency, size


def values_of(data: bytes) -> dict[Metric, int]:
    """Return a mount's counters from its tables. Times are total × mean, which may step back by a rest."""
    latency, size = parse_tables(data)
    values: dict[Metric, int] = {
        m.METRIC_DEVICE_FS_OPERATIONS: sum(numbers[0] for numbers in latency.values()),
        m.METRIC_DEVICE_FS_WAIT: sum(numbers[0] * numbers[1] for numbers in latency.values()),
    }
    if "read" in size and "write" in size and min(len(size["read"]), len(size["write"])) > 4:
        values[m.METRIC_DEVICE_FS_READ] = size["read"][4]
        values[m.METRIC_DEVICE_FS_WRITTEN] = size["write"][4]
    return values


class _UnreadableError(OSError):
    fix = "run the agent as root, or with CAP_DAC_READ_SEARCH: CephFS tells its statistics in debugfs"


class CephfsMounts:
    """Ask the kernel of its CephFS mounts."""

    name = "cephfs"
    absent = "no CephFS mount of the kernel"

    def __init__(self, roots: Roots) -> None:
        self._mounts = roots.procfs / "self/mounts"
        self._directory = roots.sysfs / "kernel/debug/ceph"
        # Of each mount the last answer, so that a mean that was rounded makes no time fall.
        self._last: dict[str, dict[Metric, int]] = {}

    def is_there(self) -> bool:
        """Say whether a CephFS is mounted."""
        try:
            return b" ceph " in self._mounts.read_bytes()
        except OSError:
            return False

    def ask(self) -> Answered:
        """Read all mounts."""
        told, unread = [], []
        try:
            paths = sorted(self._directory.iterdir())
        except PermissionError:
            raise _UnreadableError("debugfs is not readable") from None
        except FileNotFoundError:
            raise _UnreadableError(f"no {self._directory}; mount debugfs") from None
        self._last = {name: last for name, last in self._last.items() if name in {p.name for p in paths}}
        for path in paths:
            # Each client of the cluster has a directory; one that maps images alone has no metrics.
            metrics = path / "metrics"
            if not metrics.exists():
                continue
            try:
                values = values_of(_whole(metrics))
            except (OSError, ValueError) as error:
                unread.append(Unread(path.name, str(error), fix_of(error)))
                continue
            last = self._last.get(path.name)
            if last is not None and values[_REQUESTS] >= last[_REQUESTS]:
                values[_WAIT] = max(values[_WAIT], last[_WAIT])
            self._last[path.name] = values
            device = Device(device_name(f"cephfs:{path.name}"), report_pb2.DEVICE_KIND_NETWORK_STORAGE)
            told.append(Told(device, values))
        return Answered(tuple(told), tuple(unread))


def _whole(path: Path) -> bytes:
    if path.is_dir():
        return (path / "latency").read_bytes() + b"\n" + (path / "size").read_bytes()
    return path.read_bytes()
