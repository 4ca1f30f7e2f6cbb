"""What a tick costs by how many workloads there are, work, and come and go: make bench PARTS=scale.

Real cgroups of the kernel, in the shape of Docker's or of pods, with a process in those that work. The tick
is the sampler's whole tick with nothing but the workloads to read: CPU time of its thread, with Reports and
layouts.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from joulebook.agent.host import read_host
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Roots
from joulebook.agent.workloads.hierarchy import locate
from joulebook.agent.workloads.workloads import Workloads
from tests.bench.rows import Row, row

_TICKS = 30
_SETTLING = 12
_PAUSE_S = 0.05
# Memory is read at every fifth tick, in turn.
_TURNS = 5
_NUMBER_BYTES = 64
# Enters groups and uses a little CPU time 50 times a second.
_WORK = """
import os, sys, time
for name in sys.argv[1:]:
    with open(name + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
print("entered", flush=True)
while True:
    sum(range(2000))
    time.sleep(0.02)
"""


class Groups:
    """Containers' groups in every hierarchy that counts CPU time or memory."""

    def __init__(self, roots: Roots, pods: int = 0) -> None:
        """Make what contains them: pods of that number, or none."""
        self._roots = locate(roots.cgroupfs).walked
        self._above = [f"kubepods/pod{number}" for number in range(pods)] or ["docker"]
        self._made: list[str] = []
        self._number = 0
        for root in self._roots:
            for above in self._above:
                (root / above).mkdir(parents=True, exist_ok=True)

    def make(self, count: int) -> None:
        """Make so many more."""
        for _ in range(count):
            above = self._above[self._number % len(self._above)]
            name = f"{above}/{sha256(str(self._number).encode()).hexdigest()}"
            self._number += 1
            for root in self._roots:
                (root / name).mkdir()
            self._made.append(name)

    def remove(self, count: int) -> None:
        """Remove the oldest."""
        gone, self._made = self._made[:count], self._made[count:]
        for name in gone:
            for root in self._roots:
                (root / name).rmdir()

    @contextmanager
    def working(self, count: int) -> Iterator[None]:
        """Have a process work in so many of them, until the block is left."""
        with ExitStack() as stack:
            for name in self._made[:count]:
                groups = [str(root / name) for root in self._roots]
                command = [sys.executable, "-S", "-c", _WORK, *groups]
                process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
                stack.callback(process.kill)
                assert process.stdout is not None
                process.stdout.readline()
            yield
        time.sleep(_PAUSE_S)

    def files(self, roots: Roots) -> list[list[str]]:
        """Return the files that the agent reads: of CPU time, of memory."""
        found = locate(roots.cgroupfs)
        return [
            [str(each.root / name / each.file) for name in self._made]
            for each in (found.cpu, found.memory)
            if each is not None
        ]

    def close(self) -> None:
        """Remove what is left."""
        self.remove(len(self._made))
        for root in self._roots:
            for above in self._above:
                (root / above).rmdir()
            if self._above[0] != "docker":
                (root / "kubepods").rmdir()


@contextmanager
def _groups(roots: Roots, count: int, pods: int = 0) -> Iterator[Groups]:
    groups = Groups(roots, pods)
    try:
        groups.make(count)
        yield groups
    finally:
        groups.close()


def _floor_us(groups: Groups, roots: Roots) -> float:
    """Return the CPU time a tick of reading the same files and throwing the bytes away."""
    cpu, memory = ([os.open(name, os.O_RDONLY) for name in names] for names in groups.files(roots))
    took_ns = 0
    for tick in range(_TICKS):
        began_ns = time.thread_time_ns()
        for fd in cpu:
            os.pread(fd, _NUMBER_BYTES, 0)
        for fd in memory[tick % _TURNS :: _TURNS]:
            os.pread(fd, _NUMBER_BYTES, 0)
        took_ns += time.thread_time_ns() - began_ns
        time.sleep(_PAUSE_S)
    for fd in (*cpu, *memory):
        os.close(fd)
    return took_ns / 1000 / _TICKS


def _tick_us(roots: Roots, groups: Groups, changes: int) -> float:
    """Return the CPU time of a tick between two of which so many groups begin and so many end."""
    workloads = Workloads(roots)
    sampler = Sampler("n", bytes(16), read_host(roots), [], [], workloads, lambda _report, _layout: None)
    sampler.start()
    for _ in range(_SETTLING):
        sampler.tick()
        time.sleep(0.001)
    gc.collect()
    gc.freeze()
    took_ns = 0
    for _ in range(_TICKS):
        groups.remove(changes)
        groups.make(changes)
        time.sleep(_PAUSE_S)
        began_ns = time.thread_time_ns()
        sampler.tick()
        took_ns += time.thread_time_ns() - began_ns
    gc.unfreeze()
    workloads.close()
    return took_ns / 1000 / _TICKS


def _at_work(roots: Roots, idle_us: float) -> list[Row]:
    """Return what 1,000 workloads cost of which some work, by what contains these."""
    rows = []
    for pods, working in ((0, 1), (100, 1), (100, 10), (100, 30)):
        with _groups(roots, 1000, pods) as groups, groups.working(working):
            where = f"in {pods} pods" if pods else "in one group"
            rows.append(
                row(
                    f"tick, 1000 workloads {where}, {working} at work",
                    "µs",
                    _tick_us(roots, groups, 0),
                    peer="none at work, in one group",
                    peer_value=idle_us,
                )
            )
    return rows


def measure() -> list[Row]:
    """Return the curves over idle workloads beside the read floor, those at work, and what comes and goes."""
    roots = Roots(cgroupfs=Path("/sys/fs/cgroup"))
    rows = []
    for count in (10, 100, 1000):
        with _groups(roots, count) as groups:
            rows.append(
                row(
                    f"tick, {count} idle workloads",
                    "µs",
                    _tick_us(roots, groups, 0),
                    peer="the same files read and thrown away, by a Python loop",
                    peer_value=_floor_us(groups, roots),
                )
            )
    idle_us = rows[-1].ours
    rows += _at_work(roots, idle_us)
    for changes in (10, 100):
        with _groups(roots, 1000) as groups:
            took_us = _tick_us(roots, groups, changes)
        rows.append(
            row(
                f"tick, 1000 workloads, {changes} begin and {changes} end a tick",
                "µs",
                took_us,
                peer="none begins or ends",
                peer_value=idle_us,
            )
        )
        rows.append(
            row(
                f"a begin and an end, at {changes} a tick and 1000 workloads",
                "µs",
                (took_us - idle_us) / changes,
            )
        )
    return rows
