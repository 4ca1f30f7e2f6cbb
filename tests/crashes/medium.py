"""A journaling file system as operations leave it: what the kernel has, and what would outlive the power.

As on ext4 and XFS, names are given and taken in order, and syncing a file makes durable what was done to its
name; of what was written since the last sync, any sectors may be on the medium. A file that is cut is so
before what was written later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.crashes.recording import Operation

_SECTOR = 512
# What the directory itself is called among names.
_ROOT = ""


@dataclass(slots=True, eq=False)
class Inode:
    """A file or a directory: its bytes as read, as they are on the medium, and the writes in between."""

    is_directory: bool = False
    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    # Place and bytes; None: cut there.
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, place: int, data: bytes | None) -> None:
        """Write, or cut."""
        _put(self.data, place, data)
        self.pending.append((place, data))

    def sync(self) -> None:
        """Bring what was written onto the medium."""
        for place, data in self.pending:
            _put(self.durable, place, data)
        self.pending.clear()

    def after_power_cut(self, rng: Random) -> bytes:
        """Return what may be on the medium."""
        content = bytearray(self.durable)
        cuts = [i for i, (_, data) in enumerate(self.pending) if data is None]
        done = rng.randint(0, len(cuts))
        end = cuts[done] if done < len(cuts) else len(self.pending)
        kept = rng.choice([0.0, 0.5, 0.9, 1.0])
        for place, data in self.pending[:end]:
            if data is None:
                _put(content, place, None)
                continue
            at = 0
            while at < len(data):
                size = _SECTOR - (place + at) % _SECTOR
                if rng.random() < kept:
                    _put(content, place + at, data[at : at + size])
                at += size
        return bytes(content)


def _put(content: bytearray, place: int, data: bytes | None) -> None:
    if data is None and place <= len(content):
        del content[place:]
        return
    if place > len(content):
        content.extend(bytes(place - len(content)))
    content[place : place + len(data or b"")] = data or b""


Names = dict[str, Inode]
# Files by their paths, and directories, which have no bytes.
Content = dict[str, bytes | None]
# What a change does to names, and whose name and which directory it is about.
Change = tuple[str, str, str, Inode]


class Medium:
    """Everything below one directory."""

    def __init__(self, before: Content) -> None:
        """Begin with what is there, all of it durable."""
        self.names: Names = {_ROOT: Inode(is_directory=True)}
        for name, data in before.items():
            self.names[name] = Inode(data is None, bytearray(data or b""), bytearray(data or b""))
        self._durable: Names = dict(self.names)
        self._journal: list[Change] = []
        self._open: dict[int, Inode] = {}

    def apply(self, operation: Operation) -> None:
        """Let an operation happen."""
        match operation.kind:
            case "o":
                self._opened(operation)
            case "c":
                del self._open[operation.descriptor]
            case "w":
                self._open[operation.descriptor].write(operation.place, operation.data)
            case "t":
                self._cut(self._open[operation.descriptor], operation.place)
            case "s":
                self._sync(self._open[operation.descriptor])
            case "m":
                self._change("give", operation.paths[0], "", Inode(is_directory=True))
            case "u":
                self._change("take", operation.paths[0], "", self.names[operation.paths[0]])
            case "l" | "r":
                path, to = operation.paths
                self._change({"l": "give", "r": "move"}[operation.kind], path, to, self.names[path])
            case other:
                raise AssertionError(f"operation {other}: no model of it; add one")

    def _cut(self, inode: Inode, size: int) -> None:
        if size <= len(inode.data):
            inode.write(size, None)
        else:
            inode.write(len(inode.data), bytes(size - len(inode.data)))

    def _opened(self, operation: Operation) -> None:
        (name,) = operation.paths
        inode = self.names.get(name)
        if inode is None:
            assert operation.place & os.O_CREAT, f"{name}: opened, and not known"
            inode = Inode()
            self._change("give", name, "", inode)
        elif operation.place & os.O_TRUNC and inode.data:
            inode.write(0, None)
        self._open[operation.descriptor] = inode

    def _change(self, what: str, path: str, to: str, inode: Inode) -> None:
        change = (what, path, to, inode)
        _changed(self.names, change)
        self._journal.append(change)

    def _sync(self, inode: Inode) -> None:
        inode.sync()
        own_names = (
            {name for name, own in self.names.items() if own is inode} if inode.is_directory else set()
        )
        last = 0
        for number, (_, path, to, own) in enumerate(self._journal, start=1):
            if own is inode or own_names & {p.rpartition("/")[0] for p in (path, to) if p}:
                last = number
        for change in self._journal[:last]:
            _changed(self._durable, change)
        del self._journal[:last]

    def killed(self) -> Content:
        """Return what is there after a kill: all that the kernel has."""
        return {n: None if own.is_directory else bytes(own.data) for n, own in self.names.items() if n}

    def torn(self, content: Content, operation: Operation, rng: Random) -> None:
        """Let part of a write happen to what is there."""
        if operation.kind == "w" and operation.data:
            inode = self._open[operation.descriptor]
            for name in (n for n, own in self.names.items() if own is inode):
                torn = bytearray(inode.data)
                _put(torn, operation.place, operation.data[: rng.randrange(len(operation.data))])
                content[name] = bytes(torn)

    def power_cut(self, rng: Random) -> Content:
        """Return what may be there after the power was cut."""
        names = dict(self._durable)
        for change in self._journal[: rng.randint(0, len(self._journal))]:
            _changed(names, change)
        # A file may have two names.
        content = {id(own): own.after_power_cut(rng) for own in dict.fromkeys(names.values())}
        return {n: None if own.is_directory else content[id(own)] for n, own in names.items() if n}


def _changed(names: Names, change: Change) -> None:
    what, path, to, inode = change
    match what:
        case "give":
            names[to or path] = inode
        case "take":
            del names[path]
        case "move":
            for name in [n for n in names if n == path or n.startswith(f"{path}/")]:
                names[to + name.removeprefix(path)] = names.pop(name)


def laid_out(content: Content, directory: Path) -> None:
    """Write files and directories out."""
    for name, data in sorted(content.items()):
        path = directory / name
        if data is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def found_below(directory: Path) -> Content:
    """Return files and directories as laid_out() takes them."""
    return {
        str(p.relative_to(directory)): None if p.is_dir() else p.read_bytes() for p in directory.rglob("*")
    }
