"""Which block devices lie on which: /sys/block/*/slaves (Documentation/ABI/stable/sysfs-block).

md, device mapper (LVM, its caches, crypt, multipath) and bcache tell what they lie on. What is counted is the
leaves alone: each byte of a stack is a byte of theirs, once for every copy that they keep.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# Memory, files, optical drives, and the paths of an NVMe disk that is listed by itself: not disks, or not
# once more. What lies on others shows its slaves; the names say the same of stacks that hold nothing now.
_NOT_A_DISK = re.compile(
    r"(loop|ram|zram|dm-|md|bcache|drbd|zd|fd|sr|mtdblock)[0-9_]+|md_.*"
    r"|mmcblk[0-9]+(boot[0-9]+|rpmb)|nvme[0-9]+c[0-9]+n[0-9]+"
)
_NVME = re.compile(r"nvme[0-9]+n[0-9]+")
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Layers:
    """The block devices of a node: leaves, each with the paths that lead to it, and what lies on them."""

    # A disk that device mapper reaches by several paths is one leaf, named as the first.
    leaves: dict[str, tuple[str, ...]]
    # Each stack's name for people, and its leaves.
    stacks: dict[str, tuple[str, ...]]


def read_layers(directory: Path) -> Layers:
    """Read which devices of /sys/block are leaves, and which lie on which."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        return Layers({}, {})
    below = {name: _slaves(directory / name) for name in names}
    is_leaf = {
        name: not _NOT_A_DISK.fullmatch(name) and (not below[name] or bool(_NVME.fullmatch(name)))
        for name in names
    }
    leaves: dict[str, tuple[str, ...]] = {name: (name,) for name in names if is_leaf[name]}
    for name in names:
        if not is_leaf[name] and _text(directory / name / "dm/uuid").startswith("mpath-"):
            paths = [path for path in below[name] if path in leaves]
            for path in paths[1:]:
                del leaves[path]
            if paths:
                leaves[paths[0]] = tuple(paths)
    first = {path: leaf for leaf, paths in leaves.items() for path in paths}
    stacks = {}
    for name in names:
        if is_leaf[name] or not below[name]:
            continue
        found = sorted({first[leaf] for leaf in _leaves_of(name, below, is_leaf, 0) if leaf in first})
        if found:
            stacks[_called(directory, name)] = tuple(found)
    return Layers(leaves, stacks)


def _leaves_of(
    name: str, below: dict[str, tuple[str, ...]], is_leaf: dict[str, bool], depth: int
) -> set[str]:
    if is_leaf.get(name, False):
        return {name}
    if depth >= _DEEPEST:
        # Nothing real lies so deep: a tree that lies in itself.
        return set()
    return {leaf for lower in below.get(name, ()) for leaf in _leaves_of(lower, below, is_leaf, depth + 1)}


def _slaves(path: Path) -> tuple[str, ...]:
    try:
        slaves = sorted((path / "slaves").iterdir())
    except OSError:
        return ()
    return tuple(dict.fromkeys(_disk_of(slave) for slave in slaves))


def _disk_of(path: Path) -> str:
    """Return the disk that a slave is, or is a partition of."""
    try:
        return path.resolve().parent.name if (path / "partition").exists() else path.name
    except (OSError, RuntimeError):
        return path.name


def _called(directory: Path, name: str) -> str:
    # Device mapper's and md's numbers change from boot to boot; their names do not.
    return _text(directory / name / "dm/name") or name


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
