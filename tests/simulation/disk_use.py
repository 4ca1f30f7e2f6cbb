"""Which job moves how much on which disk: jobs that use several disks, and what nobody tells of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from joulebook.agent.source import Device, Probe, Series
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

# The last one's tier nobody knows.
TIER_OF_DISK = {
    "nvme0n1": report_pb2.DISK_TIER_NVME,
    "sda": report_pb2.DISK_TIER_SSD,
    "sdb": report_pb2.DISK_TIER_HDD,
    "sdc": report_pb2.DISK_TIER_HDD,
    "rbd0": report_pb2.DISK_TIER_UNSPECIFIED,
}
_MOST_BYTES = 1 << 24


class Disks:
    """Counts what disks moved, as a source of the agent's."""

    name = "disks"

    def __init__(self, names: Sequence[str], rng: Random) -> None:
        self._rng = rng
        self._read = dict.fromkeys(names, 0)

    def probe(self) -> Probe:
        """Return the disks and what is read on each."""
        return Probe(
            series=tuple(Series(m.METRIC_DEVICE_READ, device=name) for name in self._read),
            devices=tuple(
                Device(name, report_pb2.DEVICE_KIND_DISK, TIER_OF_DISK[name]) for name in self._read
            ),
        )

    def read(self, now_us: int) -> list[int]:
        """Return what was read; jobs may have told of more than that, or of less."""
        del now_us
        for name in self._read:
            self._read[name] += self._rng.choice([0, 1, self._rng.randrange(_MOST_BYTES)])
        return list(self._read.values())

    def close(self) -> None:
        """Hold nothing."""


class DiskUsers:
    """What each job moved on which disk, as the sampler knows pairs of both."""

    def __init__(self, disks: Sequence[str], rng: Random) -> None:
        self._disks, self._rng = disks, rng
        self._moved: dict[tuple[str, str], int] = defaultdict(int)
        self._pairs: list[tuple[str, str]] = []
        self._came: list[tuple[tuple[str, str], int]] = []
        # In all, on whatever disk.
        self.io_bytes: dict[str, int] = defaultdict(int)

    @property
    def tells(self) -> bool:
        """Say whether there are disks."""
        return bool(self._disks)

    @property
    def series(self) -> tuple[Series, ...]:
        """Return a series of each job on each disk that it has used."""
        return tuple(
            Series(m.METRIC_WORKLOAD_DISK_IO, domain=f"disk.{disk}", workload=job)
            for job, disk in self._pairs
        )

    def keep(self, jobs: Sequence[str]) -> None:
        """Tell only of jobs that are there."""
        self._pairs = [pair for pair in self._pairs if pair[0] in jobs]

    def move(self, jobs: Sequence[str]) -> None:
        """Let a tick pass."""
        # Who moved when nobody asked (at the start) comes when it moves again.
        self._came = []
        for job in jobs:
            for disk in self._disks:
                if self._rng.random() < 0.4:
                    if (job, disk) not in self._pairs:
                        self._came.append(((job, disk), self._moved[job, disk]))
                    moved = self._rng.choice([1, self._rng.randrange(_MOST_BYTES)])
                    self._moved[job, disk] += moved
                    self.io_bytes[job] += moved
            # Small amounts, of which it is not told where.
            self.io_bytes[job] += self._rng.choice([0, 0, 4096])

    def values(self) -> list[int]:
        """Return what was moved, of each series."""
        return [self._moved[pair] for pair in self._pairs]

    def first_moved(self) -> list[tuple[int, int]]:
        """Return bytes before and after the first tick of those that come now, and take them up."""
        came, self._came = self._came, []
        self._pairs += [pair for pair, _ in came]
        return [(before, self._moved[pair]) for pair, before in came]
