"""Which CPUs belong where."""

from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.usage.topology import Cpu, has_second_threads, parse_list, read_cpus, read_numa_cpus
from tests.fixtures.trees import build, roots_of, write


@pytest.mark.parametrize(
    ("data", "numbers"), [(b"0-3,8\n", [0, 1, 2, 3, 8]), (b"\n", []), (b"7", [7]), (b"1,3", [1, 3])]
)
def test_lists(data: bytes, numbers: list[int]) -> None:
    """Ranges and single numbers, or none."""
    assert parse_list(data) == numbers


@pytest.mark.parametrize("data", [b"a", b"3-1", b"0-99999999999", b"-5"])
def test_damaged_lists_are_refused(data: bytes) -> None:
    """A list that is none, or that no machine has, fills no memory."""
    with pytest.raises(ValueError, match=r"expected ranges|invalid literal"):
        parse_list(data)


def test_two_sockets(tmp_path: Path) -> None:
    """Each CPU is in its package and NUMA node, and one thread of each core is the first."""
    cpus = read_cpus(build("xeon-2s", tmp_path))
    assert cpus[0] == Cpu(0, 0, 0, True)
    assert [(cpu.package, cpu.numa) for cpu in cpus] == [(0, 0)] * 4 + [(1, 1)] * 4
    assert [cpu.number for cpu in cpus if cpu.is_first] == [0, 1, 4, 5]


def test_cpus_that_are_off_are_left_out(tmp_path: Path) -> None:
    """A CPU that is off line is not read."""
    roots = build("xeon-2s", tmp_path)
    write(roots.sysfs / "devices/system/cpu/cpu5/online", 0)
    assert [cpu.number for cpu in read_cpus(roots)] == [0, 1, 2, 3, 4, 6, 7]


def test_whether_cores_have_second_threads_is_told(tmp_path: Path) -> None:
    """They have while two CPUs of a core are on line; with the second ones off, as often in HPC, not."""
    roots = build("xeon-2s", tmp_path)
    assert has_second_threads(roots)
    for cpu in read_cpus(roots):
        if not cpu.is_first:
            write(roots.sysfs / f"devices/system/cpu/cpu{cpu.number}/online", 0)
    assert not has_second_threads(roots)
    assert not has_second_threads(roots_of(tmp_path / "none"))


def test_servers_that_tell_no_package(tmp_path: Path) -> None:
    """Without topology, or with −1 for a package, all is package 0 and no NUMA node."""
    roots = roots_of(tmp_path)
    write(roots.sysfs / "devices/system/cpu/cpu0/topology/physical_package_id", -1)
    write(roots.sysfs / "devices/system/cpu/cpu1/uevent", "")
    assert read_cpus(roots) == [Cpu(0, 0, -1, True), Cpu(1, 0, -1, True)]
    assert read_numa_cpus(roots) == {}


def test_this_machine() -> None:
    """The machine's CPUs are all there."""
    assert read_cpus(Roots())
