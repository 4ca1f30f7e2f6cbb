"""Which CPUs belong to which package and NUMA node.

Documentation/ABI/stable/sysfs-devices-system-cpu, Documentation/ABI/stable/sysfs-devices-node.
"""

from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.source import Device, Roots
from joulebook.v1 import report_pb2

# More CPUs and nodes than Linux can be built for; what bounds a damaged list.
_MOST = 1 << 16

# The kernel numbers packages from 0, or as firmware does; more is a spoilt file.
_MOST_PACKAGE = 65_535


@dataclass(frozen=True, slots=True)
class Cpu:
    """A logical CPU; numa is −1 where the kernel tells none, is_first of its core's threads."""

    number: int
    package: int
    numa: int
    is_first: bool


def parse_list(data: bytes) -> list[int]:
    """Parse the kernel's list of numbers, "0-3,8"."""
    numbers: list[int] = []
    for part in data.strip().split(b","):
        if not part:
            continue
        first, _, last = part.partition(b"-")
        if not 0 <= int(first) <= int(last or first) < _MOST:
            raise ValueError(f"list {data[:80]!r}: expected ranges of numbers")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def read_number(path: Path) -> int | None:
    """Return the number that a file of sysfs holds; None: it holds none, or cannot be read."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


def numbered(directory: Path, prefix: str) -> list[tuple[int, Path]]:
    """Return the entries of a directory that are named by a prefix and a number, by number."""
    try:
        names = [path for path in directory.iterdir() if path.name.startswith(prefix)]
    except OSError:
        return []
    ends = [(path.name.removeprefix(prefix), path) for path in names]
    return sorted((int(end), path) for end, path in ends if end.isdecimal() and int(end) < _MOST)


def read_numa_cpus(roots: Roots) -> dict[int, list[int]]:
    """Return the CPUs of each NUMA node: devices/system/node/node*/cpulist. Memory alone has none."""
    nodes = {}
    for number, path in numbered(roots.sysfs / "devices/system/node", "node"):
        try:
            nodes[number] = parse_list((path / "cpulist").read_bytes())
        except (OSError, ValueError):
            nodes[number] = []
    return nodes


def read_cpus(roots: Roots) -> list[Cpu]:
    """Return the CPUs that are online; a package that is not told, or −1 as some ARM servers say, is 0."""
    numa_of = {cpu: node for node, cpus in read_numa_cpus(roots).items() for cpu in cpus}
    cpus = []
    for number, path in numbered(roots.sysfs / "devices/system/cpu", "cpu"):
        if read_number(path / "online") == 0:
            continue
        topology = path / "topology"
        try:
            siblings = parse_list((topology / "thread_siblings_list").read_bytes())
        except (OSError, ValueError):
            siblings = []
        package = max(0, read_number(topology / "physical_package_id") or 0)
        if package > _MOST_PACKAGE:
            package = 0
        cpus.append(Cpu(number, package, numa_of.get(number, -1), min(siblings, default=number) == number))
    return cpus


def has_second_threads(roots: Roots) -> bool:
    """Say whether CPUs that are online share a core; of CPUs that tell nothing none does."""
    return not all(cpu.is_first for cpu in read_cpus(roots))


def package_device(number: int) -> Device:
    """Return the device of a package, called as its domain."""
    return Device(f"cpu.{number}", report_pb2.DEVICE_KIND_PACKAGE)


def numa_device(number: int) -> Device:
    """Return the device of a NUMA node."""
    return Device(f"numa.{number}", report_pb2.DEVICE_KIND_NUMA)
