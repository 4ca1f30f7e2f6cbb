"""Attributes of the kernel's file systems (Documentation/filesystems/sysfs.rst)."""

from pathlib import Path


def text(path: Path) -> bytes:
    """Return an attribute without its line end; empty where it cannot be read."""
    try:
        return path.read_bytes().strip()
    except OSError:
        return b""
