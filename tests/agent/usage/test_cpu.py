"""CPU time of the node."""

from pathlib import Path

import psutil
import pytest

from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Roots
from joulebook.agent.usage.cpu import CpuUsage, parse_stat
from tests.fixtures.trees import build, roots_of, write


def test_guest_time_is_counted_once_and_interrupts_are_system() -> None:
    """User holds nice and guest already; system holds interrupts."""
    assert parse_stat(b"cpu  100 20 30 999 5 7 3 11 50 10\ncpu0 1") == (120, 40, 5, 11)


def test_ticks_become_microseconds(tmp_path: Path) -> None:
    """The series are µs of all CPUs, and the attributes hold the last read's."""
    cpu = CpuUsage(build("vm", tmp_path))
    probe = cpu.probe()
    assert [finding.state for finding in probe.findings] == [WORKING]
    assert cpu.logical_cpus == 2
    tick_us = 10_000
    assert list(cpu.read(0)) == [n * tick_us for n in (2997 + 1369, 2997, 1369, 182, 6)]
    assert cpu.busy_us == (2997 + 1369) * tick_us
    assert len(probe.series) == 5
    cpu.close()


def test_what_falls_in_the_kernel_stands_still(tmp_path: Path) -> None:
    """iowait and steal may fall in /proc/stat; the series do not."""
    roots = build("vm", tmp_path)
    cpu = CpuUsage(roots)
    cpu.probe()
    before = cpu.read(0)
    write(roots.procfs / "stat", "cpu  2997 0 1341 207841 100 0 28 2 0 0\ncpu0 1\ncpu1 1")
    assert cpu.read(1) == before
    cpu.close()


def test_absent_and_broken(tmp_path: Path) -> None:
    """Without /proc/stat the source is absent; with another file in its place, unreadable."""
    roots = roots_of(tmp_path)
    assert [finding.state for finding in CpuUsage(roots).probe().findings] == [ABSENT]
    write(roots.procfs / "stat", "intr 1 2 3 4 5 6 7 8 9 10 11")
    assert [finding.state for finding in CpuUsage(roots).probe().findings] == [UNREADABLE]


def test_this_machine_agrees_with_psutil() -> None:
    """The machine's own counters lie between two readings by psutil."""
    cpu = CpuUsage(Roots())
    cpu.probe()
    assert cpu.logical_cpus == psutil.cpu_count()
    before = psutil.cpu_times()
    values = cpu.read(0)
    after = psutil.cpu_times()
    assert before.user + before.nice - 0.1 <= values[1] / 1e6 <= after.user + after.nice + 0.1
    cpu.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        cpu.read(1)
