"""Where the kernel keeps the cgroup figures: v2, v1, or both at once (hybrid)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Controller:
    """A mounted hierarchy, its name in /proc/PID/cgroup ("": v2), and each group's file of figures."""

    root: Path
    key: str
    file: str

    def directory(self, path: str) -> Path:
        """Return the directory of the group with this path ("/a/b")."""
        return self.root / path.lstrip("/")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The one hierarchy that each kind of figure comes from; None where the kernel keeps none."""

    cpu: Controller | None = None
    memory: Controller | None = None
    io: Controller | None = None
    # Of v1 alone: v2 has no files of it.
    devices: Controller | None = None

    @property
    def walked(self) -> tuple[Path, ...]:
        """The trees to look for workloads in: that of CPU time, then that of memory where it is another."""
        return tuple(dict.fromkeys(each.root for each in (self.cpu, self.memory) if each is not None))


def locate(cgroupfs: Path) -> Hierarchies:
    """Find the controllers under a cgroup mount point.

    CPU time comes from a single hierarchy: on a hybrid host a process may stand in differently named
    groups of two, and would be counted twice.
    """
    if _is_v2(cgroupfs):
        return Hierarchies(
            Controller(cgroupfs, "", "cpu.stat"),
            Controller(cgroupfs, "", "memory.current"),
            Controller(cgroupfs, "", "io.stat"),
        )
    unified = cgroupfs / "unified"
    hybrid = _is_v2(unified)
    there = set((unified / "cgroup.controllers").read_text().split()) if hybrid else set()
    return Hierarchies(
        _v1(cgroupfs, ("cpuacct", "cpu,cpuacct", "cpuacct,cpu"), "cpuacct", "cpuacct.usage")
        # cpu.stat needs no controller.
        or (Controller(unified, "", "cpu.stat") if hybrid else None),
        _v1(cgroupfs, ("memory",), "memory", "memory.usage_in_bytes")
        or (Controller(unified, "", "memory.current") if "memory" in there else None),
        _v1(cgroupfs, ("blkio",), "blkio", "blkio.throttle.io_service_bytes_recursive")
        or (Controller(unified, "", "io.stat") if "io" in there else None),
        _v1(cgroupfs, ("devices",), "devices", "devices.list"),
    )


def parse_proc_cgroup(raw: bytes) -> dict[str, str]:
    """Return the group's path of each controller, "" being v2, from /proc/PID/cgroup; see cgroups(7)."""
    paths: dict[str, str] = {}
    for line in raw.decode(errors="surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def cgroup_paths(procfs: Path, pid: int | str) -> dict[str, str]:
    """Return parse_proc_cgroup() of a process; empty where it cannot be read."""
    try:
        return parse_proc_cgroup((procfs / str(pid) / "cgroup").read_bytes())
    except (OSError, ValueError):
        return {}


def _is_v2(root: Path) -> bool:
    return (root / "cgroup.controllers").exists()


def _v1(cgroupfs: Path, names: tuple[str, ...], key: str, file: str) -> Controller | None:
    for name in names:
        if (cgroupfs / name).is_dir():
            return Controller(cgroupfs / name, key, file)
    return None
