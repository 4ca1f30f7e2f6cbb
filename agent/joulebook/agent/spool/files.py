"""The file system, as the spool uses it: what it asks of the kernel is all on this page.

A simulation puts another in its place, which tears writes, fills up, and forgets what was not synced.
"""

import fcntl
import os
from pathlib import Path


class Files:
    """The machine's own files. Descriptors are the kernel's; every method raises OSError as the call does."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it, where they are missing."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self, directory: Path) -> list[str]:
        """Return the names in a directory, in order."""
        return sorted(os.listdir(directory))  # noqa: PTH208  names are all that is asked for

    def open(self, path: Path, flags: int) -> int:
        """Open a file for reading and writing; return its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)

    def close(self, fd: int) -> None:
        """Give a descriptor back."""
        os.close(fd)

    def duplicate(self, fd: int) -> int:
        """Return another descriptor of the same file."""
        return os.dup(fd)

    def lock(self, fd: int) -> None:
        """Take a file for this process alone. Raises BlockingIOError where another has it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, fd: int, data: bytes) -> int:
        """Write some bytes at the descriptor's place; return how many were."""
        return os.write(fd, data)

    def write_at(self, fd: int, data: bytes, place: int) -> int:
        """Write some bytes at a place; return how many were."""
        return os.pwrite(fd, data, place)

    def read_at(self, fd: int, size: int, place: int) -> bytes:
        """Return as many bytes from a place on, fewer at the file's end."""
        return os.pread(fd, size, place)

    def read(self, path: Path) -> bytes:
        """Return a whole file."""
        return path.read_bytes()

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file off, and have the next write follow there."""
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)

    def seek_end(self, fd: int) -> int:
        """Have the next write follow at the end; return where that is."""
        return os.lseek(fd, 0, os.SEEK_END)

    def sync(self, fd: int) -> None:
        """Make what was written outlive the machine's power."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Make the names of files outlive the machine's power."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, path: Path, to: Path) -> None:
        """Give a file another name, whose file of before is gone."""
        path.rename(to)

    def remove(self, path: Path) -> None:
        """Take a name away, where it is there."""
        path.unlink(missing_ok=True)


KERNEL = Files()
