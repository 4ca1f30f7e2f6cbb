"""The cgroup of one `joulebook run`, made by the client below its own where it may."""

import contextlib
import time
from pathlib import Path

from joulebook.agent.workloads.hierarchy import cgroup_paths, locate

_REMOVE_TRIES = 20
_REMOVE_WAIT_S = 0.002


def group_name(token: str) -> str:
    """Return the directory name of a run's cgroup."""
    return f"joulebook-{token}"


class RunGroup:
    """Child directories, one in each hierarchy that counts CPU time or memory."""

    def __init__(self, token: str, cgroupfs: Path, procfs: Path) -> None:
        """Make what may be made; none where nothing may be."""
        self.directories: list[Path] = []
        hierarchies = locate(cgroupfs)
        paths = cgroup_paths(procfs, "self")
        for controller in (hierarchies.cpu, hierarchies.memory):
            path = paths.get(controller.key) if controller else None
            if controller is None or path is None or ".." in path.split("/"):
                continue
            directory = controller.directory(path) / group_name(token)
            with contextlib.suppress(OSError):
                directory.mkdir()
                # A group with a real-time budget of 0 would take real-time scheduling from the command.
                if (directory / "cpu.rt_runtime_us").exists():
                    directory.rmdir()
                else:
                    self.directories.append(directory)

    def enter(self, pid: int) -> None:
        """Move a process in; a group that does not take it is removed again."""
        for directory in list(self.directories):
            try:
                (directory / "cgroup.procs").write_text(str(pid))
            except OSError:
                self.directories.remove(directory)
                with contextlib.suppress(OSError):
                    directory.rmdir()

    def remove(self) -> None:
        """Move what still runs back to where it would be without us, and remove the groups."""
        for directory in self.directories:
            for _ in range(_REMOVE_TRIES):
                with contextlib.suppress(OSError):
                    for pid in (directory / "cgroup.procs").read_text().split():
                        with contextlib.suppress(OSError):
                            (directory.parent / "cgroup.procs").write_text(pid)
                try:
                    directory.rmdir()
                    break
                except OSError:
                    time.sleep(_REMOVE_WAIT_S)  # zombies leave a group a moment later
        self.directories.clear()
