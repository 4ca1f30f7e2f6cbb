"""Which processes are new, or have executed another program since they were looked at."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.clock import boot_us
from joulebook.agent.workloads.launchers.process import Birth, Processes
from joulebook.agent.workloads.processes import process_cpu_ns

# So many new processes are looked at in one look, after the first.
_NEW_A_LOOK = 250
# A process is looked at when it is found, and once more after 1, 2, 4, … 32 looks: a shell executes the
# launcher a moment later, a launcher another program.
_LAST_AGE = 32
# Pids are given out in order, so those given out since the last look are asked for one by one. All are listed
# every so many looks, for what chose its own pid: processes that are restored from a checkpoint.
_LIST_EVERY = 64
# Of the start of a process as /proc tells it.
_STEP_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_LOADAVG_BYTES = 128


def is_process(pid: int) -> bool:
    """Say whether there is a process of this pid; threads have pids too, but no process' clock."""
    try:
        process_cpu_ns(pid)
    except OSError:
        return False
    return True


@dataclass(slots=True)
class _Young:
    image: bytes
    age: int = 0


class Found:
    """Looks through a /proc for what is new."""

    def __init__(
        self,
        procfs: Path,
        processes: Processes,
        *,
        sees_own_pids: bool,
        is_process: Callable[[int], bool] = is_process,
    ) -> None:
        """sees_own_pids: the last pid given out, as the kernel tells it, is one of this /proc."""
        self._procfs = procfs
        self._processes = processes
        self._is_process = is_process
        self._loadavg = f"{procfs}/loadavg" if sees_own_pids else ""
        self._fd = -1
        self._last_pid = 0
        # When that was, on the boot clock.
        self._last_us = 0
        self._looks = 0
        self._left = True
        self._is_first = True
        self._young: dict[int, _Young] = {}
        # Who started whom, of all that there were when they were listed last, and that came since.
        self.parents: dict[int, int] = {}

    def look(self) -> Iterator[tuple[int, Birth, bool]]:
        """Yield each process that is new or executes another program now, and with False each young one."""
        yield from self._changed()
        now_us, since_us, before = boot_us(), self._last_us, self._last_pid
        last_pid = self._last()
        self._looks += 1
        is_turn = self._looks % _LIST_EVERY == 0
        if last_pid and last_pid == before and not (self._left or is_turn):
            return  # nothing was started since
        self._last_pid, self._last_us = last_pid, now_us
        few = min(_NEW_A_LOOK, len(self.parents))
        if before and before < last_pid <= before + few and not (self._left or is_turn):
            yield from self._given_out(range(before + 1, last_pid + 1), since_us)
        else:
            yield from self._listed()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _given_out(self, pids: range, since_us: int) -> Iterator[tuple[int, Birth, bool]]:
        """Yield the processes of pids that were given out since a moment of the boot clock."""
        for pid in pids:
            if not self._is_process(pid):
                continue
            try:
                birth = self._processes.birth(pid)
            except (OSError, ValueError, IndexError):
                continue
            # It may be there from a time before: pids that are taken are passed over.
            if pid not in self.parents or birth.start_us + _STEP_US > since_us:
                yield from self._taken_up(pid, birth)

    def _listed(self) -> Iterator[tuple[int, Birth, bool]]:
        """List all processes; yield those that are new."""
        try:
            with os.scandir(self._procfs) as entries:
                pids = {int(name) for name in (entry.name for entry in entries) if name.isdecimal()}
        except OSError:
            # Nothing can be said, of what is known neither; the next look is at all again.
            self._last_pid = 0
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
            yield from self._taken_up(pid, birth)

    def _taken_up(self, pid: int, birth: Birth) -> Iterator[tuple[int, Birth, bool]]:
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

    def _last(self) -> int:
        """Return the last pid that was given out; 0: the kernel does not tell."""
        if not self._loadavg:
            return 0
        try:
            if self._fd < 0:
                self._fd = os.open(self._loadavg, os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(self._fd, _LOADAVG_BYTES, 0).rpartition(b" ")[2])
        except (OSError, ValueError):
            return 0
