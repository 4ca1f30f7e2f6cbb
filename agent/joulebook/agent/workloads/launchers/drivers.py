"""Spark's drivers: which application they are of, only their executors say, by where the driver listens."""

from __future__ import annotations

import os
from pathlib import Path

from joulebook.agent.workloads.launchers.claim import Claim

# A driver that no executor on this node has named by then is an application of its own.
_PATIENCE_US = 120_000_000
_MAX_DESCRIPTORS = 4096
_LISTENS = "0A"


class Drivers:
    """Drivers that wait for an executor to name them, and where executors have named one."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        self._waiting: dict[int, tuple[Claim, int]] = {}
        # The claim of the executor that named a place last.
        self._named: dict[tuple[str, int], Claim] = {}

    def wait(self, pid: int, claim: Claim, now_us: int) -> Claim | None:
        """Take up a driver; return the application that it is of, where that is known already."""
        for place, executor in self._named.items():
            if self._listens(pid, *place):
                return executor
        self._waiting[pid] = (claim, now_us + _PATIENCE_US)
        return None

    def named(self, claim: Claim) -> list[tuple[int, Claim]]:
        """Take up what an executor says of its driver; return the drivers that this tells of."""
        place = claim.driver_at
        if place is None:
            return []
        if place not in self._named and len(self._named) >= 1000:
            del self._named[next(iter(self._named))]
        self._named[place] = claim
        found = [pid for pid in self._waiting if self._listens(pid, *place)]
        return [(pid, self._waiting.pop(pid)[0]) for pid in found]

    def late(self, now_us: int) -> list[tuple[int, Claim]]:
        """Return the drivers that no executor has named in time."""
        late = [pid for pid, (_, until_us) in self._waiting.items() if now_us >= until_us]
        return [(pid, self._waiting.pop(pid)[0]) for pid in late]

    def _listens(self, pid: int, host: str, port: int) -> bool:
        """Say whether a process listens there; a driver binds the address that it gives to executors."""
        inodes = set()
        for file in ("tcp", "tcp6"):
            try:
                inodes |= parse_listeners((self._procfs / str(pid) / "net" / file).read_bytes(), host, port)
            except OSError:
                continue
        if not inodes:
            return False
        directory = f"{self._procfs}/{pid}/fd"
        try:
            names = os.listdir(directory)[:_MAX_DESCRIPTORS]  # noqa: PTH208  (names, not paths)
        except OSError:
            return False
        for name in names:
            try:
                if os.readlink(f"{directory}/{name}") in inodes:  # noqa: PTH115  (a text, not a path)
                    return True
            except OSError:
                continue
        return False


def parse_listeners(raw: bytes, host: str, port: int) -> set[str]:
    """Return the sockets, as links of descriptors name them, that listen at a port; see proc_net_tcp(5).

    host: an address in digits that the socket must have, unless it has all; a name may be any.
    """
    wanted = _hexadecimal(host)
    found = set()
    for line in raw.decode("ascii", errors="replace").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTENS:
            continue
        address, _, number = fields[1].partition(":")
        if int(number, 16) == port and (not wanted or address.endswith(wanted) or not address.strip("0")):
            found.add(f"socket:[{fields[9]}]")
    return found


def _hexadecimal(host: str) -> str:
    """Return an IPv4 address as the kernel shows it on a little-endian machine; "" for a name."""
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return ""
    return "".join(f"{int(part):02X}" for part in reversed(parts))
