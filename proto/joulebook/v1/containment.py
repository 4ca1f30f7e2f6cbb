"""Which energy domain lies in which, told by their names alone."""

from collections.abc import Sequence

# Parts of a CPU package that are shown but never added: the package holds them.
DETAILS = ("core", "uncore")
# A platform meter (psys) sits before everything on the board but discrete GPUs.
INSIDE_PSYS = ("module", "cpu", "memory", "disk", "nic")


def parents_of(names: Sequence[str]) -> list[int]:
    """Return for each domain the place of the smallest one that contains it; -1: a top one."""
    place = {name: i for i, name in enumerate(names)}
    parents = []
    for name in names:
        kind, _, number = name.partition(".")
        candidates: list[str] = []
        if kind in ("cpu", "gpu"):
            candidates.append(f"module.{number}")
        if kind in INSIDE_PSYS:
            candidates.append("psys")
        if kind != "node":
            candidates.append("node")
        parents.append(next((place[c] for c in candidates if c in place and c != name), -1))
    return parents


def depths_of(parents: Sequence[int]) -> list[int]:
    """Return how many containers each domain lies in."""
    depths = []
    for parent in parents:
        depth, at = 0, parent
        while at >= 0:
            depth, at = depth + 1, parents[at]
        depths.append(depth)
    return depths
