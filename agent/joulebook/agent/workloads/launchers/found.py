"""Which processes are new, or have executed another program since they were looked at."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.workloads.launchers.process import Birth, Processes

# So many new processes are looked at in one look, after the first.
_NEW_A_LOOK = 250
# A process is looked at when it is found, and once more after 1, 2, 4, … 32 looks: a shell executes the
# launcher a moment later, a launcher another program.
_LAST_AGE = 32


@dataclass(slots=True)
class _Young:
    image: bytes
    age: int = 0


class Found:
    """Looks through a /proc for what is new."""

    def __init__(self, procfs: Path, processes: Processes, *, sees_own_pids: bool) -> None:
        """sees_own_pids: the last pid given out, as the kernel tells it, is one of this /proc."""
        self._procfs = procfs
        self._processes = processes
        self._loadavg = procfs / "loadavg" if sees_own_pids else None
        self._last_pid = b""
        self._left = True
        self._is_first = True
        self._young: dict[int, _Young] = {}
        # Who started whom, of all that there are.
        self.parents: dict[int, int] = {}

    def look(self) -> Iterator[tuple[int, Birth, bool]]:
        """Yield each process that is new or executes another program now, and with False each young one."""
        yield from self._changed()
        last_pid = self._last()
        if last_pid and last_pid == self._last_pid and not self._left:
            return  # nothing was started since
        self._last_pid = last_pid
        try:
            with os.scandir(self._procfs) as entries:
                pids = {int(name) for name in (entry.name for entry in entries) if name.isdecimal()}
        except OSError:
            # Nothing can be said, of what is known neither; the next look is at all again.
            self._last_pid = b""
            return
        for pid in self.parents.keys() - pids:
            del self.parents[pid]
            self._young.pop(pid, None)
        fresh = sorted(pids - self.parents.keys())
        self._left = not self._is_first and len(fresh) > _NEW_A_LOOK
        if not self._is_first:
            fresh = fresh[:_NEW_A_LOOK]
        self._is_first = False
        for pid in fresh:
            try:
                birth = self._processes.birth(pid)
            except (OSError, ValueError, IndexError):
                continue
            self.parents[pid] = birth.parent
            if pid != 2 and birth.parent != 2:  # the kernel's own
                self._young[pid] = _Young(birth.image)
                yield pid, birth, True

    def children(self, pid: int) -> list[int]:
        """Return the processes that this one started and that were found before."""
        return [child for child, parent in self.parents.items() if parent == pid]

    def _changed(self) -> Iterator[tuple[int, Birth, bool]]:
        for pid, young in list(self._young.items()):
            young.age += 1
            if young.age & (young.age - 1):
                continue
            if young.age >= _LAST_AGE:
                del self._young[pid]
            try:
                birth = self._processes.birth(pid)
            except (OSError, ValueError, IndexError):
                self._young.pop(pid, None)
                continue
            changed = birth.image != young.image
            young.image = birth.image
            yield pid, birth, changed

    def _last(self) -> bytes:
        try:
            return self._loadavg.read_bytes().rpartition(b" ")[2] if self._loadavg else b""
        except OSError:
            return b""
