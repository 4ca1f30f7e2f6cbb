"""A node of two sockets, 8 GPUs and 100 workloads, in files, and a BMC that hangs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulebook.agent.clock import boot_us
from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.meters.series import energy_series
from joulebook.agent.settings import SourceSettings
from joulebook.agent.slow import Slow
from joulebook.agent.source import WORKING, Domain, Finding, Probe, Roots
from joulebook.agent.sources import Sources, probe_sources
from joulebook.v1 import report_pb2
from tests.fixtures.nvml.standin import Standin
from tests.fixtures.trees import build, write

GPUS = 8
WORKLOADS = 100
# Of the first GPU's process.
_PID = 4_000_000
_LOGICAL_CPUS = 224
_IO_EVERY = 5
# Of as many digits as what it grows to.
_BEGUN = 1 << 20
_S = 1_000_000


def node(directory: Path) -> Roots:
    """Make the large node's files."""
    roots = build("xeon-2s", directory)
    cgroups = directory / "cgroup"
    cgroups.mkdir()
    write(cgroups / "cgroup.controllers", "cpu io memory")
    for number in range(WORKLOADS):
        group = cgroups / "system.slice" / f"unit{number}.service"
        write(group / "cpu.stat", f"usage_usec {_BEGUN}\nuser_usec {number}\nsystem_usec 0")
        write(group / "memory.current", 1 << 30)
        write(group / "io.stat", f"8:0 rbytes={_BEGUN} wbytes=4096 rios=1 wios=1 dbytes=0 dios=0")
    cpus = range(_LOGICAL_CPUS)
    for cpu in cpus:
        package = roots.sysfs / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id"
        write(package, cpu % 2)
    lines = [f"cpu{cpu} 51543 26 12345 956790 540 0 154 0 0 0" for cpu in cpus]
    total = "cpu  11545632 5824 2765280 214320960 120960 0 34496 0 0 0"
    write(roots.procfs / "stat", "\n".join((total, *lines, "intr 1 0", "ctxt 9", "btime 1717000000")))
    write(roots.procfs / "self/cgroup", "0::/")
    for number in range(GPUS):
        write(roots.procfs / str(_PID + number) / "cgroup", f"0::/system.slice/unit{number}.service")
    write(roots.procfs / "self/statm", "100 50 1 1 1 1 1")
    return Roots(roots.procfs, roots.sysfs, cgroups, directory / "dev")


class HangingBmc:
    """A meter of the node whose BMC answered once and then no more."""

    name = "bmc"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self._power = HeldPower(3 * _S)
        self._asked = 0
        self._slow = Slow(self.name, self._ask, period_us=_S, timeout_us=5 * _S)

    def _ask(self) -> int:
        self._asked += 1
        if self._asked > 1:
            self.gate.wait()
        return 1_200_000

    def probe(self) -> Probe:
        """Find the node."""
        domain = Domain("node", self.name, report_pb2.SOURCE_KIND_AVERAGE_POWER, 1000, _S, 30_000)
        return Probe(energy_series(["node"]), (domain,), findings=(Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Take what came."""
        if (answer := self._slow.poll(now_us)) is not None:
            self._power.take(answer.value, answer.taken_us)
        self._power.advance(now_us)
        return self._power.energy_uj, self._power.unread_us

    def findings(self) -> tuple[Finding, ...]:
        """Tell of the hang."""
        return self._slow.finding(boot_us())

    def offsets_uj(self) -> tuple[int, ...]:
        """Have no hardware counter."""
        return (0,)

    def close(self) -> None:
        """Let it come back."""
        self.gate.set()
        self._slow.close()


@contextmanager
def large_node() -> Iterator[tuple[Roots, Sources]]:
    """Yield the node's files and the sources that were found there."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        standin = Standin(Path(directory), GPUS)
        standin.install(patch)
        for number in range(GPUS):
            standin.set(number, compute=_PID + number, samples=f"{_PID + number}:50:1")
        roots = node(Path(directory))
        sources = probe_sources(roots, SourceSettings(gauges=GaugesConfig()))
        try:
            yield roots, sources
        finally:
            sources.close()


class Work:
    """Has workloads use something between two ticks: a file that stays as it is costs less to read.

    Each uses CPU time, every fifth does IO.
    """

    def __init__(self, cgroupfs: Path) -> None:
        self._fds = [
            (os.open(path / "cpu.stat", os.O_WRONLY), os.open(path / "io.stat", os.O_WRONLY))
            for path in sorted((cgroupfs / "system.slice").iterdir())
        ]
        self._turn = _BEGUN

    def go_on(self) -> int:
        """Use some; return the CPU time that this took itself, in ns."""
        began_ns = time.thread_time_ns()
        self._turn += 1
        for number, (cpu, io) in enumerate(self._fds):
            os.pwrite(cpu, f"usage_usec {self._turn}\n".encode(), 0)
            if number % _IO_EVERY == 0:
                os.pwrite(io, f"8:0 rbytes={self._turn} ".encode(), 0)
        return time.thread_time_ns() - began_ns

    def close(self) -> None:
        """Give the files back."""
        for pair in self._fds:
            for fd in pair:
                os.close(fd)
