"""CPU time and kinship of processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulebook.agent.workloads.processes import (
    Family,
    Kinship,
    parse_stat,
    parse_statm,
    process_cpu_ns,
)

PROCFS = Path("/proc")

# A client with a child, which has a child that burns, and one that burnt and was waited for.
TREE = """
import os, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
sys.stdin.readline()  # the client waits until it is watched
child = os.fork()
if child == 0:
    first = os.fork()
    if first == 0:
        burn(0.05); os._exit(0)
    os.waitpid(first, 0)
    second = os.fork()
    if second == 0:
        burn(0.05); print("burnt", flush=True); time.sleep(60)
    os.waitpid(second, 0)
    os._exit(0)
sys.stdin.readline()
os.waitpid(child, 0)
print("waited", flush=True)
sys.stdin.readline()
"""


def test_stat_of_a_command_with_parentheses() -> None:
    """The command's name may hold anything; the parent and the children's time are found after it."""
    raw = b"7 (a) b (c) S 3 7 7 0 -1 0 0 0 0 0 5 6 200 30 20 0 1 0 99 1 1\n"
    assert parse_stat(raw) == (3, 230 * 1_000_000 // os.sysconf("SC_CLK_TCK"))


def test_statm_is_in_pages() -> None:
    """Resident and shared sizes are given in bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    assert parse_statm(b"900 12 5 1 0 300 0\n") == (12 * page, 5 * page)


def test_clock_of_a_process_that_is_gone() -> None:
    """There is no clock of a process that was waited for."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    with pytest.raises(OSError, match=r"."):
        process_cpu_ns(child.pid)


@contextmanager
def client() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("listed", [True, False], ids=["children lists", "scan"])
def test_family_counts_the_living_and_the_dead(listed: bool) -> None:
    """Descendants that run and that were waited for are counted, with the kernel's lists and without."""
    kinship = Kinship(PROCFS)
    if listed and not kinship._listed:
        pytest.skip("needs a kernel with CONFIG_PROC_CHILDREN")
    kinship._listed = listed
    with client() as process:
        assert process.stdin
        assert process.stdout
        family = Family(PROCFS, process.pid, kinship)
        assert family.cpu_us() == 0
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0)
        # 50 ms of the one that was waited for come in clock ticks, of user and of system time each.
        assert family.cpu_us() >= 100_000 - 2 * 1_000_000 // os.sysconf("SC_CLK_TCK")
        assert family.memory_bytes() > 0
        os.kill(_burner(process.pid, kinship), 9)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert family.cpu_us() >= 100_000 - 4 * 1_000_000 // os.sysconf("SC_CLK_TCK")


def _burner(pid: int, kinship: Kinship) -> int:
    kinship.look()
    (child,) = kinship.children(pid)
    (burner,) = kinship.children(child)
    return burner
