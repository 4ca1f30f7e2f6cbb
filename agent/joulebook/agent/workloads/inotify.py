"""Directories made and removed, told by the kernel: inotify(7) through ctypes."""

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

_IN_CREATE = 0x00000100
_IN_DELETE = 0x00000200
_IN_Q_OVERFLOW = 0x00004000
_IN_ONLYDIR = 0x01000000
_IN_ISDIR = 0x40000000
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 65536


class Event(NamedTuple):
    """What happened to directory `name` below the watched one. overflow: events were lost."""

    watch: int
    name: str
    made: bool = False
    removed: bool = False
    overflow: bool = False


def parse_events(raw: bytes) -> list[Event]:
    """Return the events about directories in a buffer of struct inotify_event."""
    events = []
    offset = 0
    while offset < len(raw):
        watch, mask, _, length = _HEAD.unpack_from(raw, offset)
        offset += _HEAD.size
        name = os.fsdecode(raw[offset : offset + length].rstrip(b"\0"))
        offset += length
        if mask & _IN_Q_OVERFLOW:
            events.append(Event(watch, "", overflow=True))
        elif mask & _IN_ISDIR and mask & (_IN_CREATE | _IN_DELETE):
            events.append(Event(watch, name, made=bool(mask & _IN_CREATE), removed=bool(mask & _IN_DELETE)))
    return events


class Inotify:
    """A non-blocking inotify instance. Raises OSError where the kernel or its limits give none."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")

    def fileno(self) -> int:
        """Return the descriptor, readable when there are events."""
        return self._fd

    def watch(self, directory: Path) -> int:
        """Watch a directory's children; OSError with ENOSPC: fs.inotify.max_user_watches is reached."""
        mask = _IN_CREATE | _IN_DELETE | _IN_ONLYDIR
        return self._check(
            self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask), str(directory)
        )

    def forget(self, watch: int) -> None:
        """Stop watching; a cgroup directory's watch does not end with the directory."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def events(self) -> list[Event]:
        """Return what happened since the last call, without waiting."""
        events: list[Event] = []
        try:
            while raw := os.read(self._fd, _BUFFER_BYTES):
                events += parse_events(raw)
        except BlockingIOError:
            pass
        return events

    def close(self) -> None:
        """Give the instance back, with its watches."""
        os.close(self._fd)

    @staticmethod
    def _check(result: int, what: str) -> int:
        if result < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno), what)
        return result
