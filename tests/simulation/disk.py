"""A node's disk: what the kernel holds, what would outlive the power, and what can go wrong between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from joulebook.agent.spool.files import Files
from tests.simulation.loop import CrashError, Loop, Process


@dataclass(slots=True)
class _Inode:
    """A file: its bytes as read, as they are on the medium, and what was written since the last sync."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, data: bytes, place: int) -> None:
        _put(self.data, data, place)
        self.pending.append((place, data))

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.pending.append((size, b""))

    def sync(self) -> None:
        for place, data in self.pending:
            _put(self.durable, data, place)
        self.pending.clear()


def _put(content: bytearray, data: bytes, place: int) -> None:
    if not data:
        del content[place:]
        return
    if place > len(content):
        content.extend(bytes(place - len(content)))
    content[place : place + len(data)] = data


@dataclass(slots=True)
class Trouble:
    """What is wrong with a disk: how many bytes it holds, how often a call fails, how slow it is."""

    room_bytes: int | None = None
    fails: float = 0.0
    sync_fails: float = 0.0
    slow_s: float = 0.0


class Disk:
    """One directory of a journaling file system."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        # Names given and taken since the last sync, in order.
        self._journal: list[tuple[str, _Inode | None]] = []
        self.trouble = Trouble()
        self.holder: Process | None = None
        self.failures = 0

    def used_bytes(self) -> int:
        """Return how many bytes the files have."""
        return sum(len(inode.data) for inode in self.names.values())

    def name(self, name: str, inode: _Inode | None) -> None:
        """Give a name to a file, or take it away."""
        if inode is None:
            self.names.pop(name, None)
        else:
            self.names[name] = inode
        self._journal.append((name, inode))

    def sync_names(self) -> None:
        """Bring names onto the medium."""
        self._durable_names = dict(self.names)
        self._journal.clear()

    def cut_power(self) -> None:
        """Leave what is on the medium: of what was not synced any part, torn where it pleases."""
        rng = self._rng
        names = dict(self._durable_names)
        for name, inode in self._journal[: rng.randint(0, len(self._journal))]:
            if inode is None:
                names.pop(name, None)
            else:
                names[name] = inode
        for inode in {id(i): i for i in names.values()}.values():
            for place, data in inode.pending:
                match rng.randrange(4):
                    case 0:
                        _put(inode.durable, data, place)
                    case 1 if data:
                        _put(inode.durable, data[: rng.randint(1, len(data))], place)
                    case 2 if len(data) > 8:
                        # The length was on the medium before the bytes.
                        _put(inode.durable, bytes(len(data)), place)
            inode.data = bytearray(inode.durable)
            inode.pending.clear()
        self.names = names
        self._durable_names = dict(names)
        self._journal.clear()
        self.holder = None


class DiskFiles(Files):
    """A process's way to its node's disk: each call may be its last, and each may fail."""

    def __init__(self, loop: Loop, disk: Disk, process: Process, rng: Random) -> None:
        self._loop, self._disk, self._process, self._rng = loop, disk, process, rng
        self._open: dict[int, tuple[_Inode, list[int]]] = {}
        self._next_fd = 3
        # Whether the running thread holds a lock: it does not pause then, since others would wait for it.
        self.locked: Callable[[], bool] = lambda: True
        self.kinds: dict[str, int] = {}

    def _begin(self, *, sync: bool = False, reads: bool = False) -> None:
        if not self.locked():
            self._loop.pause(self._disk.trouble.slow_s * self._rng.random())
        self._process.step()
        trouble = self._disk.trouble
        chance = trouble.sync_fails if sync else trouble.fails / 4 if reads else trouble.fails
        if chance and self._rng.random() < chance:
            self._disk.failures += 1
            self.kinds["EIO"] = self.kinds.get("EIO", 0) + 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def make_directory(self, path: Path) -> None:
        del path
        self._begin()

    def names(self, directory: Path) -> list[str]:
        del directory
        return sorted(self._disk.names)

    def open(self, path: Path, flags: int) -> int:
        self._begin()
        inode = self._disk.names.get(path.name)
        if inode is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            inode = _Inode()
            self._disk.name(path.name, inode)
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        return self._descriptor(inode)

    def _descriptor(self, inode: _Inode) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = (inode, [0])
        return self._next_fd

    def close(self, fd: int) -> None:
        del self._open[fd]

    def open_descriptors(self) -> int:
        """Return how many descriptors are held."""
        return len(self._open)

    def duplicate(self, fd: int) -> int:
        return self._descriptor(self._open[fd][0])

    def lock(self, fd: int) -> None:
        del fd
        holder = self._disk.holder
        if holder is not None and holder.alive and holder is not self._process:
            raise BlockingIOError(errno.EAGAIN, "locked")
        self._disk.holder = self._process

    def _room(self, grows: int) -> int:
        if self._disk.trouble.room_bytes is None:
            return grows
        return max(0, min(grows, self._disk.trouble.room_bytes - self._disk.used_bytes()))

    def write(self, fd: int, data: bytes) -> int:
        inode, at = self._open[fd]
        if not self._process.alive:
            raise CrashError
        if self._process.burn():
            if torn := data[: self._rng.randint(0, len(data))]:
                inode.write(torn, at[0])
            self._process.die()
            raise CrashError
        self._begin()
        taken = data[: self._room(len(data))]
        if not taken:
            self.kinds["ENOSPC"] = self.kinds.get("ENOSPC", 0) + 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        inode.write(taken, at[0])
        at[0] += len(taken)
        return len(taken)

    def write_at(self, fd: int, data: bytes, place: int) -> int:
        self._begin()
        self._open[fd][0].write(data, place)
        return len(data)

    def read_at(self, fd: int, size: int, place: int) -> bytes:
        self._begin(reads=True)
        return bytes(self._open[fd][0].data[place : place + size])

    def read(self, path: Path) -> bytes:
        self._begin(reads=True)
        inode = self._disk.names.get(path.name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return bytes(inode.data)

    def truncate(self, fd: int, size: int) -> None:
        self._begin()
        inode, at = self._open[fd]
        inode.truncate(size)
        at[0] = size

    def seek_end(self, fd: int) -> int:
        inode, at = self._open[fd]
        at[0] = len(inode.data)
        return at[0]

    def sync(self, fd: int) -> None:
        inode = self._open[fd][0]
        try:
            self._begin(sync=True)
        except OSError:
            # The kernel may take the pages for clean now: a later sync does not bring them onto the medium.
            if self._rng.random() < 0.5:
                inode.pending.clear()
            raise
        inode.sync()

    def sync_directory(self, path: Path) -> None:
        del path
        self._begin(sync=True)
        self._disk.sync_names()

    def rename(self, path: Path, to: Path) -> None:
        self._begin()
        inode = self._disk.names.get(path.name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._disk.name(path.name, None)
        self._disk.name(to.name, inode)

    def remove(self, path: Path) -> None:
        self._begin()
        if path.name in self._disk.names:
            self._disk.name(path.name, None)
