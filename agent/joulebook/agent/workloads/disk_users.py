"""Which workloads moved how many bytes on which disks.

A pair of a workload and a disk has a series from the tick on in which it has moved a MiB. A new series ends a
Report, so less is not worth one: it is in what the workload moved in all, and the ledger places it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from joulebook.agent.source import Series
from joulebook.agent.workloads.column import IO, FileColumn, Member, Past, Stood
from joulebook.v1 import metrics_pb2

DISK_IO = metrics_pb2.METRIC_WORKLOAD_DISK_IO
WORTH_BYTES = 1 << 20

# Bytes by a block device's number ("8:0").
Devices: TypeAlias = dict[bytes, int]


def total_of(parse: Callable[[bytes], Devices], raw: bytes) -> int:
    """Return what a file of IO shows of all devices."""
    return sum(parse(raw).values())


class _Parser:
    """Adds devices up, and keeps them."""

    __slots__ = ("_parse", "devices")

    def __init__(self, parse: Callable[[bytes], Devices]) -> None:
        self._parse = parse
        self.devices: Devices = {}

    def __call__(self, raw: bytes) -> int:
        self.devices = self._parse(raw)
        return sum(self.devices.values())


class IoColumn(FileColumn):
    """Bytes that a group moved, in all and on each disk. Neither falls, as with any counter."""

    __slots__ = ("_counted", "_disks", "_parser", "by_disk", "is_closed", "member", "told")

    def __init__(
        self,
        member: Member,
        file: str,
        parse: Callable[[bytes], Devices],
        size: int,
        disks: Mapping[bytes, str],
        past: Past,
        *,
        base: int,
        fresh: bool,
    ) -> None:
        """Open the file; disks: the domain of each disk by its number. What is no disk counts in all only."""
        self._parser = _Parser(parse)
        super().__init__(IO, file, self._parser, size, base=base, fresh=fresh)
        self.member = member
        self.is_closed = False
        # The disks that have a series.
        self.told: set[str] = set()
        self._disks = disks
        self.by_disk = past.by_disk(member.workload.id, DISK_IO)
        # What of the file is in by_disk, or was there before the group was watched.
        self._counted = {} if fresh else self._parser.devices

    def count(self) -> dict[str, int]:
        """Add to each disk what readings found since the last call; return that of disks without a series."""
        devices, counted = self._parser.devices, self._counted
        untold: dict[str, int] = {}
        if devices is counted:
            return untold
        by_disk, disks, told = self.by_disk, self._disks, self.told
        for device, figure in devices.items():
            known = counted.get(device, 0)
            if figure != known and (disk := disks.get(device)) is not None:
                # A disk that was pulled and came back counts from 0.
                grown = figure - known if figure > known else figure
                by_disk[disk] = by_disk.get(disk, 0) + grown
                if disk not in told:
                    untold[disk] = untold.get(disk, 0) + grown
        self._counted = devices
        return untold

    def renew(self) -> bool:
        """Follow the path to another file, if there is another now."""
        if not super().renew():
            return False
        self._parser.devices = self._counted = {}
        return True

    def past(self) -> Stood:
        """Return where it stands, in all and on each disk."""
        return super().past() | {(DISK_IO, disk): figure for disk, figure in self.by_disk.items()}

    def close(self) -> None:
        """Give the descriptor back."""
        super().close()
        self.is_closed = True


class _Pair:
    """A workload and a disk that have a series."""

    __slots__ = ("column", "disk", "series")

    def __init__(self, column: IoColumn, disk: str) -> None:
        self.column = column
        self.disk = disk
        self.series = Series(DISK_IO, domain=disk, workload=column.member.workload.id)


class DiskUsers:
    """The pairs that have a series. note() what moved at each tick, then first_moved().

    arrange() when members changed.
    """

    def __init__(self) -> None:
        self._pairs: list[_Pair] = []
        # Those of disks that are domains.
        self._told: list[_Pair] = []
        self._domains: frozenset[str] | None = None
        # Where each of those that wait for a series stood when it was seen first.
        self._waiting: dict[tuple[IoColumn, str], int] = {}
        # Those that get one next, with the reading before the last.
        self._news: list[tuple[_Pair, int]] = []
        self.series: tuple[Series, ...] = ()

    def know_domains(self, names: frozenset[str]) -> None:
        """Tell only of disks that are among these domains, from now on."""
        if names != self._domains:
            self._domains = names
            self._choose()

    def note(self, columns: Iterable[object]) -> None:
        """Take up what was read of groups that may have moved something; others are passed over."""
        for column in columns:
            if isinstance(column, IoColumn):
                for disk, amount in column.count().items():
                    self._see(column, disk, amount)

    def first_moved(self) -> list[tuple[int, int]]:
        """Give new pairs their series, at the end; return their readings at the last two ticks."""
        if not self._news:
            return []
        news, self._news = self._news, []
        pairs = [pair for pair, _ in news]
        self._pairs += pairs
        self._told += pairs
        self.series += tuple(pair.series for pair in pairs)
        return [(before, pair.column.by_disk[pair.disk]) for pair, before in news]

    def arrange(self) -> None:
        """Let go of workloads that went, and take up others' ids."""
        for i, pair in enumerate(self._pairs):
            if pair.series.workload != pair.column.member.workload.id:
                self._pairs[i] = _Pair(pair.column, pair.disk)
        self._waiting = {key: at for key, at in self._waiting.items() if not key[0].is_closed}
        self._pairs = [pair for pair in self._pairs if not pair.column.is_closed]
        self._choose()

    def values(self) -> list[int]:
        """Return one value a series."""
        return [pair.column.by_disk[pair.disk] for pair in self._told]

    def _see(self, column: IoColumn, disk: str, amount: int) -> None:
        key = column, disk
        before = column.by_disk[disk] - amount
        moved = before + amount - self._waiting.setdefault(key, before)
        if moved >= WORTH_BYTES and (self._domains is None or disk in self._domains):
            del self._waiting[key]
            column.told.add(disk)
            self._news.append((_Pair(column, disk), before))

    def _choose(self) -> None:
        domains = self._domains
        self._told = [pair for pair in self._pairs if domains is None or pair.disk in domains]
        self.series = tuple([pair.series for pair in self._told])
