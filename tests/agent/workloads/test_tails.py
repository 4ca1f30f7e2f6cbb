"""Short jobs on the real kernel: what one used is its own, though no reading ever saw it."""

import contextlib
import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU
from joulebook.agent.workloads.hierarchy import Controller, locate
from joulebook.agent.workloads.workload import Workload
from joulebook.agent.workloads.workloads import Workloads

_CGROUPFS = Path("/sys/fs/cgroup")
# Of clocks that are read one after the other, and of the microseconds that each figure is cut to.
_SLACK_US = 100
# Real jobs of the machine have other numbers.
_FIRST = 7_000_000
_OUTSIDE = struct.Struct("qq")


class Used(NamedTuple):
    """The CPU time of a process in its group: it entered at some moment of a system call."""

    least_us: int
    most_us: int

    def holds(self, booked_us: int, slack_us: int = _SLACK_US) -> bool:
        return self.least_us - slack_us <= booked_us <= self.most_us + slack_us


def job(number: int) -> str:
    return f"slurm.{_FIRST + number}"


def _enter_and_burn(group: Path, seconds: float, told: int) -> None:
    before_ns = time.process_time_ns()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    os.write(told, _OUTSIDE.pack(before_ns, time.process_time_ns()))
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@dataclass
class Kernel:
    """A hierarchy of the real kernel with Slurm's layout of one user, and an agent's workloads."""

    cpu: Controller
    top: Path
    workloads: Workloads
    now_us: int = 0
    outside_ns: dict[int, tuple[int, int]] = field(default_factory=dict)
    cpu_us: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Workload] = field(default_factory=dict)
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)

    def begin(self, number: int, seconds: float) -> tuple[int, Path]:
        """Start a job of one process that burns so much CPU time."""
        group = self.top / "uid_0" / f"job_{_FIRST + number}"
        group.mkdir(parents=True, exist_ok=True)
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                _enter_and_burn(group, seconds, tell)
            os._exit(0)
        os.close(tell)
        # Until it entered, what it used was its parent's group's.
        self.outside_ns[pid] = _OUTSIDE.unpack(os.read(told, _OUTSIDE.size))
        os.close(told)
        return pid, group

    def end(self, pid: int, group: Path) -> Used:
        """Wait for a job and remove its group; return its CPU time by rusage."""
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        while group.exists():
            with contextlib.suppress(OSError):  # a process leaves its group a moment after it ended
                group.rmdir()
        total_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
        before_ns, after_ns = self.outside_ns.pop(pid)
        return Used(total_us - after_ns // 1000, total_us - before_ns // 1000)

    def run(self, number: int, seconds: float) -> Used:
        return self.end(*self.begin(number, seconds))

    def tick(self) -> None:
        """Do as the sampler does."""
        self.now_us = time.monotonic_ns() // 1000
        if self.workloads.refresh(self.now_us):
            for series, value in zip(self.workloads.series, self.workloads.baseline(), strict=True):
                if series.metric == CPU and series.workload in self.cpu_us:
                    assert value == self.cpu_us[series.workload], "a layout begins at the last tick"
        self.read()

    def read(self) -> None:
        values = self.workloads.read(time.monotonic_ns() // 1000)
        for series, value in zip(self.workloads.series, values, strict=True):
            if series.metric == CPU:
                self.cpu_us[series.workload] = value
        self.seen |= {each.id: each for each in self.workloads.workloads}
        self.ended |= {workload_id: (end, status) for workload_id, end, status in self.workloads.ended()}


@pytest.fixture(params=["v1", "v2"])
def kernel(request: pytest.FixtureRequest, need: Callable[[str], None]) -> Iterator[Kernel]:
    """Return a hierarchy of each version that this kernel has."""
    roots = Roots()
    if request.param == "v2" and (_CGROUPFS / "unified/cgroup.controllers").exists():
        roots = Roots(cgroupfs=_CGROUPFS / "unified")
    cpu = locate(roots.cgroupfs).cpu
    if cpu is None or (cpu.key == "") != (request.param == "v2") or not os.access(cpu.root, os.W_OK):
        if request.param == "v2":
            need("a cgroup v2 hierarchy to write to")
        pytest.skip("no v1 hierarchy that counts CPU time")
    top = cpu.root / f"slurm_tails{os.urandom(3).hex()}"
    (top / "uid_0").mkdir(parents=True)
    workloads = Workloads(roots)
    node = Kernel(cpu, top, workloads)
    node.tick()
    yield node
    workloads.close()
    for group in sorted(top.rglob("*/"), reverse=True):
        group.rmdir()
    top.rmdir()


def test_jobs_that_no_reading_saw_are_booked_as_rusage_has_it(kernel: Kernel) -> None:
    """Of 50 jobs each made and removed within a tick, each has its CPU time, id, user, start and end."""
    burns = random.Random(1)
    for number in range(1, 51):
        used = kernel.run(number, burns.uniform(0.002, 0.03))
        kernel.tick()
        assert used.holds(kernel.cpu_us[job(number)])
        workload = kernel.seen[job(number)]
        assert workload.user == "root"
        end_us, _ = kernel.ended[job(number)]
        assert 0 < workload.start_unix_us <= end_us
    kernel.tick()
    assert job(50) not in {each.id for each in kernel.workloads.workloads}


def test_the_last_stretch_of_a_job_is_its_own(kernel: Kernel) -> None:
    """A job that ticks have read is booked with what it used after the last, beside another that runs."""
    other, place = kernel.begin(99, 0.5)
    for number in range(1, 6):
        pid, group = kernel.begin(number, 0.06)
        for _ in range(2):
            time.sleep(0.02)
            kernel.tick()
        used = kernel.end(pid, group)
        kernel.tick()
        # Another runs on while groups are read one after the other.
        assert used.holds(kernel.cpu_us[job(number)], 2000)
    used = kernel.end(other, place)
    place.parent.rmdir()  # as Slurm does with a user's last job
    kernel.tick()
    assert used.holds(kernel.cpu_us[job(99)], 2000)


def test_of_jobs_that_end_together_the_sum_is_exact_and_told_as_unsure(kernel: Kernel) -> None:
    """Ten jobs made and removed within one tick have together what rusage says, each a part of it."""
    each = [kernel.run(number, 0.005) for number in range(1, 11)]
    used = Used(*map(sum, zip(*each, strict=True)))
    kernel.tick()
    booked = [kernel.cpu_us[job(number)] for number in range(1, 11)]
    assert used.holds(sum(booked), 10 * _SLACK_US)
    assert min(booked) > 0
    assert kernel.workloads.unsure_us >= sum(booked)


def test_groups_that_go_while_they_are_read_keep_their_tails(kernel: Kernel) -> None:
    """A group removed after the events were taken and before its file is read loses nothing."""
    pid, group = kernel.begin(1, 0.02)
    kernel.tick()
    kernel.workloads.refresh(time.monotonic_ns() // 1000)
    used = kernel.end(pid, group)
    kernel.read()
    first_us = kernel.cpu_us[job(1)]
    assert used.holds(first_us)
    assert job(1) in kernel.ended
    kernel.tick()
    assert job(1) not in {each.id for each in kernel.workloads.workloads}
    kernel.run(1, 0.01)
    kernel.tick()
    assert kernel.cpu_us[job(1)] > first_us, "another life of the id goes on from there"
