"""Whatever befalls the files that a source reads: no crash, no figure that falls or is absurd, a reason."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulebook.agent.counters import S
from joulebook.agent.source import (
    UNREADABLE,
    WORKING,
    ChangingSource,
    Finding,
    Probe,
    Roots,
    Source,
    TellingSource,
)
from joulebook.agent.usage.beside import Asker, Beside
from joulebook.agent.usage.cephfs import CephfsMounts
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.frequency import FrequencyUsage
from joulebook.agent.usage.hugepages import HugepagesUsage
from joulebook.agent.usage.infiniband import InfinibandPorts
from joulebook.agent.usage.lustre import Lustre
from joulebook.agent.usage.memory import MemoryUsage
from joulebook.agent.usage.network import NetworkUsage
from joulebook.agent.usage.nfs import NfsMounts
from joulebook.agent.usage.numa import NumaUsage
from joulebook.agent.usage.packages import PackageUsage
from joulebook.agent.usage.pressure import PressureUsage
from joulebook.agent.usage.throttling import ThrottlingUsage
from joulebook.v1.catalogue import catalogue
from tests.fixtures.trees import build

_LIMIT_S = 60.0
# No counter of a node grows by so much in the seconds between two reads, nor is any level so high.
_ABSURD = 10**16
# Each source's readings are in turns of five at most.
_TICKS = 6

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "cut in a number": lambda data: data.rstrip()[:-1],
    "binary": lambda data: bytes(range(256)) * (len(data) // 256 + 1),
    "zeros": lambda data: bytes(max(len(data), 1)),
    "huge": lambda data: data * 400,
    "huge numbers": lambda data: _numbers(data, b"9" * 40),
    "large numbers": lambda data: _numbers(data, b"9" * 15),
    "negative numbers": lambda data: _numbers(data, b"-5"),
    "no numbers": lambda data: _numbers(data, b"0"),
    "words": lambda data: _numbers(data, b"N/A"),
}


def _numbers(data: bytes, other: bytes) -> bytes:
    """Replace every number that stands alone."""
    return b" ".join(other if word.isdigit() else word for word in data.split(b" "))


@dataclass
class Reading:
    """A source with what it reads before, ticked by hand; checks every value as it comes."""

    sources: list[Source]
    now_us: int = 1000 * S
    told: list[Finding] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    last: list[list[int]] = field(default_factory=list)

    def probe(self) -> None:
        self.probes = [source.probe() for source in self.sources]
        self.last = [[] for _ in self.sources]

    def tick(self) -> None:
        self.now_us += 5 * S
        for place, source in enumerate(self.sources):
            # As the sampler does: what has no series, and cannot come to have any, is not read.
            if not self.probes[place].series and not isinstance(source, ChangingSource):
                continue
            if isinstance(source, Beside):
                self._read(place, source)
                source.wait(_LIMIT_S)
            self._read(place, source)
            if isinstance(source, TellingSource):
                self.told += source.findings()
            if isinstance(source, ChangingSource) and (probe := source.changed()) is not None:
                self.probes[place], self.last[place] = probe, []
                self.told += probe.findings
                self._read(place, source)

    def _read(self, place: int, source: Source) -> None:
        try:
            values = list(source.read(self.now_us))
        except (OSError, ValueError) as error:
            self.told.append(Finding(source.name, UNREADABLE, str(error)))
            return
        series = self.probes[place].series
        assert len(values) == len(series)
        entries = catalogue()
        for number, (one, value) in enumerate(zip(series, values, strict=True)):
            assert isinstance(value, int)
            assert value >= 0, one
            if entries[one.metric].is_counter and self.last[place]:
                assert 0 <= value - self.last[place][number] < _ABSURD, one
            elif not entries[one.metric].is_counter:
                assert value < _ABSURD, one
        self.last[place] = values

    def close(self) -> None:
        for source in self.sources:
            source.close()


@dataclass(frozen=True)
class Case:
    """A source: the tree of a node that has it, and which files of that it reads."""

    tree: str
    files: tuple[str, ...]
    make: Callable[[Roots, Callable[[], int]], list[Source]]


def _beside(make: Callable[[Roots], Asker]) -> Callable[[Roots, Callable[[], int]], list[Source]]:
    return lambda roots, clock: [
        Beside(make(roots), period_us=5 * S, timeout_us=60 * S, patience_s=_LIMIT_S, clock=clock)
    ]


def _cpu(roots: Roots, _: Callable[[], int]) -> list[Source]:
    cpu = CpuUsage(roots)
    return [cpu, PackageUsage(roots, cpu)]


_DEBUG = "sys/kernel/debug"
CASES = {
    "cpu and packages": Case("xeon-2s", ("proc/stat",), _cpu),
    "frequency": Case(
        "xeon-2s",
        ("sys/devices/system/cpu/cpu[01]/cpufreq/scaling_cur_freq",),
        lambda roots, _: [FrequencyUsage(roots)],
    ),
    "throttling": Case(
        "xeon-2s",
        ("sys/devices/system/cpu/cpu0/thermal_throttle/*",),
        lambda roots, _: [ThrottlingUsage(roots)],
    ),
    "memory": Case("xeon-2s", ("proc/meminfo",), lambda roots, _: [MemoryUsage(roots)]),
    "numa": Case("xeon-2s", ("sys/devices/system/node/node0/*",), lambda roots, _: [NumaUsage(roots)]),
    "hugepages": Case(
        "xeon-2s", ("sys/kernel/mm/hugepages/*/*_hugepages",), lambda roots, _: [HugepagesUsage(roots)]
    ),
    "disks": Case("xeon-2s", ("sys/block/*/stat",), lambda roots, _: [DiskUsage(roots)]),
    "network": Case("xeon-2s", ("proc/net/dev",), lambda roots, _: [NetworkUsage(roots)]),
    "pressure": Case("xeon-2s", ("proc/pressure/*",), lambda roots, _: [PressureUsage(roots)]),
    "infiniband": Case("storage", ("sys/class/infiniband/mlx5_*/ports/*/**/*",), _beside(InfinibandPorts)),
    "nfs": Case("storage", ("proc/self/mount*",), _beside(NfsMounts)),
    "lustre": Case(
        "storage",
        (f"{_DEBUG}/lustre/*/*/stats", "proc/fs/lustre/*/*/*stats", "sys/fs/lustre/obdfilter/*/*"),
        _beside(Lustre),
    ),
    "cephfs": Case(
        "storage", (f"{_DEBUG}/ceph/*/metrics", f"{_DEBUG}/ceph/*/metrics/*"), _beside(CephfsMounts)
    ),
}


class Node:
    """A node's tree, a source over it, and the files that it reads."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.directory = directory
        roots = build(case.tree, directory)
        self.reading = Reading([])
        self.reading.sources = case.make(roots, lambda: self.reading.now_us)
        found = [path for pattern in case.files for path in sorted(directory.glob(pattern))]
        self.files = [path for path in found if path.is_file()]
        assert self.files


@pytest.fixture(params=CASES)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """Yield each source over its tree."""
    made = Node(CASES[request.param], tmp_path)
    yield made
    made.reading.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_while_read(node: Node, damage: str) -> None:
    """Each file in turn is damaged under a source that reads it, and mended again."""
    reading = node.reading
    reading.probe()
    assert any(probe.series for probe in reading.probes)
    for _ in range(2):
        reading.tick()
    before = [list(values) for values in reading.last]
    reading.told.clear()
    for path in node.files:
        good = path.read_bytes()
        path.write_bytes(DAMAGES[damage](good))
        for _ in range(_TICKS):
            reading.tick()
        path.write_bytes(good)
        for _ in range(_TICKS):
            reading.tick()
    assert [len(values) for values in reading.last] == [len(values) for values in before]
    if damage in ("empty", "binary", "zeros"):
        # These cannot be taken for anything that the kernel writes.
        assert reading.told
        assert all(finding.reason for finding in reading.told if finding.state != WORKING)


@pytest.mark.parametrize("damage", ["empty", "truncated", "binary", "huge numbers", "words"])
def test_damaged_before(node: Node, damage: str) -> None:
    """A source that begins on damaged files says so or reads what is left; mended, it goes on."""
    good = {path: path.read_bytes() for path in node.files}
    for path, data in good.items():
        path.write_bytes(DAMAGES[damage](data))
    node.reading.probe()
    for _ in range(_TICKS):
        node.reading.tick()
    for path, data in good.items():
        path.write_bytes(data)
    for _ in range(_TICKS):
        node.reading.tick()


def test_unplugged_while_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is pulled answers ENODEV on descriptors that are kept, and its directory is gone."""
    reading = node.reading
    reading.probe()
    reading.tick()
    real = os.pread
    gone = {str(path.resolve()) for path in node.files}

    def pread(fd: int, length: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)") in gone:  # noqa: PTH115  # as is
            raise OSError(errno.ENODEV, "No such device")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    for path in node.files:
        shutil.rmtree(path.parent, ignore_errors=True)
    reading.told.clear()
    for _ in range(_TICKS):
        reading.tick()
    assert reading.told or not any(probe.series for probe in reading.probes)


def test_files_that_race(node: Node) -> None:
    """Files that are cut and rewritten at any moment of a read."""
    reading = node.reading
    reading.probe()
    stop = threading.Event()
    good = {path: path.read_bytes() for path in node.files}

    def race() -> None:
        while not stop.is_set():
            for path, data in good.items():
                for part in (data[: len(data) // 3], b"", data[: -len(data) // 3], data):
                    path.write_bytes(part)

    thread = threading.Thread(target=race)
    thread.start()
    try:
        for _ in range(30):
            reading.tick()
    finally:
        stop.set()
        thread.join()
