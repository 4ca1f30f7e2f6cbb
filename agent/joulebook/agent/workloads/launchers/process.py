"""What a process shows of itself once: who started it and when, its command line, a few variables.

Nothing else of an environment is ever taken: it may hold secrets (Spark's PYTHON_WORKER_FACTORY_SECRET).
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_MAX_BYTES = 1 << 18
# In the order of the launchers' files.
_WANTED = (
    b"JOULEBOOK_JOB",
    b"FLUX_JOB_ID",
    b"TORCHELASTIC_RUN_ID|MASTER_ADDR|MASTER_PORT|WORLD_SIZE|RANK",
    b"TF_CONFIG",
    b"RAY_ADDRESS",
    b"__DASK_PARENT_PID|DASK_SCHEDULER_ADDRESS",
    b"OMPI_MCA_orte_hnp_uri|PMIX_NAMESPACE",
)
_VARIABLE = re.compile(rb"(?:\A|\0)(" + b"|".join(_WANTED) + rb")=([^\0]*)")


class Birth(NamedTuple):
    """Who started a process, when on the boot clock, and what changes when it executes another program.

    Where the kernel does not show the stack of others' processes, only the command's name tells of that.
    """

    parent: int
    start_us: int
    image: bytes


class Times(NamedTuple):
    """The parent, when it started, its own CPU time and that of children that it waited for."""

    parent: int
    start_us: int
    own_us: int
    waited_us: int


def parse_birth(raw: bytes) -> Birth:
    """Parse /proc/PID/stat for Birth; see proc(5). The command may hold spaces and parentheses."""
    end = raw.rindex(b")")
    fields = raw[end + 2 :].split()
    return Birth(int(fields[1]), int(fields[19]) * _TICK_US, raw[raw.index(b"(") : end] + fields[25])


def parse_times(raw: bytes) -> Times:
    """Parse /proc/PID/stat for Times; see proc(5)."""
    fields = raw[raw.rindex(b")") + 2 :].split()
    own_us = (int(fields[11]) + int(fields[12])) * _TICK_US
    waited_us = (int(fields[13]) + int(fields[14])) * _TICK_US
    return Times(int(fields[1]), int(fields[19]) * _TICK_US, own_us, waited_us)


def parse_told(raw: bytes) -> dict[str, str]:
    """Return the wanted variables of /proc/PID/environ, and no other; see proc(5)."""
    return {
        name.decode(): value.decode(errors="replace")
        for name, value in reversed(_VARIABLE.findall(raw + b"\0"))
    }


def parse_command(raw: bytes) -> tuple[str, ...]:
    """Return the arguments of /proc/PID/cmdline; see proc(5)."""
    return tuple(raw.rstrip(b"\0").decode(errors="replace").split("\0")) if raw.strip(b"\0") else ()


def read_file(path: str) -> bytes:
    """Return what a small file of /proc holds; OSError where that may not be read or is gone."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.read(fd, _MAX_BYTES)
        # These files come a page at a time.
        while len(raw) < _MAX_BYTES and (more := os.read(fd, _MAX_BYTES - len(raw))):
            raw += more
        return raw
    finally:
        os.close(fd)


@dataclass
class Process:
    """A process as its launcher may be recognised: look up and forget."""

    pid: int
    parent_pid: int = 0
    start_us: int = 0
    command: Sequence[str] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    find: Callable[[int], "Process | None"] = lambda _: None

    @cached_property
    def parent(self) -> "Process | None":
        """Return the process that started it; None where that is none of anybody's."""
        return self.find(self.parent_pid) if self.parent_pid > 1 else None

    @cached_property
    def programs(self) -> tuple[str, ...]:
        """Return the names of what may be the program: the command's, and a script's or module's after it."""
        names = [argument.rpartition("/")[2] for argument in self.command[:3]]
        if "-m" in self.command[:-1]:
            names.append(self.command[self.command.index("-m") + 1])
        return tuple(names)

    def option(self, *names: str) -> str:
        """Return the value of the first option of these names: --name VALUE or --name=VALUE."""
        for place, argument in enumerate(self.command):
            name, equals, value = argument.partition("=")
            if name in names:
                if equals:
                    return value
                if place + 1 < len(self.command):
                    return self.command[place + 1]
        return ""


class Processes:
    """Reads processes under a /proc."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        # Whether the environment of a process could not be read.
        self.denied = False

    def birth(self, pid: int) -> Birth:
        """Read parse_birth(). OSError, ValueError: it is gone."""
        return parse_birth(read_file(f"{self._procfs}/{pid}/stat"))

    def times(self, pid: int) -> Times:
        """Read parse_times(). OSError, ValueError: it is gone."""
        return parse_times(read_file(f"{self._procfs}/{pid}/stat"))

    def process(self, pid: int, birth: Birth | None = None) -> Process | None:
        """Look a process up; None where it is gone, or the kernel's own."""
        try:
            birth = birth or self.birth(pid)
            command = parse_command(read_file(f"{self._procfs}/{pid}/cmdline"))
        except (OSError, ValueError, IndexError):
            return None
        if not command:
            return None
        told: dict[str, str] = {}
        try:
            told = parse_told(read_file(f"{self._procfs}/{pid}/environ"))
        except PermissionError:
            self.denied = True
        except OSError:
            return None
        return Process(pid, birth.parent, birth.start_us, command, told, self.process)

    def uid(self, pid: int) -> int:
        """Return the user of a process. OSError: it is gone."""
        return os.stat(f"{self._procfs}/{pid}").st_uid  # noqa: PTH116  (a Path costs as much as the call)

    def network(self, pid: int) -> int:
        """Return the number of a process' network namespace; 0 where that may not be read."""
        try:
            return os.stat(f"{self._procfs}/{pid}/ns/net").st_ino  # noqa: PTH116  (as above)
        except OSError:
            return 0
