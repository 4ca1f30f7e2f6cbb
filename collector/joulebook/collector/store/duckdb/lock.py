"""DuckDB's lock on a file. It is the program's: it is gone when any descriptor of the file is closed."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def locked(file: BinaryIO, *, read_only: bool) -> bool:
    """Take the lock that DuckDB takes, until the file is closed; return whether nobody else has it."""
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def open_here(path: Path) -> bool:
    """Say whether this program has a file open, so that it must not open and close it besides."""
    with suppress(FileNotFoundError):
        descriptor_of(path)
        return True
    return False


def descriptor_of(path: Path) -> int:
    """Return a descriptor that this program has of a file. Raises FileNotFoundError where it has none."""
    own = path.stat()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  names are numbers
        # The directory's own is gone by now.
        with suppress(OSError):
            if os.path.samestat(os.fstat(int(name)), own):
                return int(name)
    raise FileNotFoundError(f"{path}: not open in this program")
