"""Groups that are left unread while nothing below what contains them moved, and read as soon as it did."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.workloads.column import CPU, IO, MEMORY
from joulebook.agent.workloads.workloads import Workloads
from tests.agent.workloads.containers_in_one_group import Containers
from tests.agent.workloads.test_workloads import burn
from tests.fixtures.cgroups.fake import V1, V2, FakeCgroups


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files of columns that are read, as they are."""
    done: list[str] = []
    pread = os.pread

    def count(fd: int, size: int, offset: int) -> bytes:
        done.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115
        return pread(fd, size, offset)

    monkeypatch.setattr("joulebook.agent.workloads.column.os.pread", count)
    return done


@pytest.mark.parametrize("version", [V1, V2])
def test_what_rests_costs_a_reading_of_what_contains_it(
    tmp_path: Path, version: str, reads: list[str]
) -> None:
    """A hundred containers at rest are not read; once one of them uses CPU time, all are, and show it."""
    containers = Containers(tmp_path, version)
    containers.settle()
    reads.clear()
    containers.workloads.read(0)
    # v1 has no sum of IO that could speak for those below, and a group counts it only with a limit.
    read = [each for each in reads if containers.above in each and "blkio" not in each]
    assert len(read) <= 4
    containers.use(17, cpu_us=5)
    before = list(containers.cpu_us)
    assert containers.shown(CPU) == before
    containers.workloads.close()


def test_a_newcomer_among_those_that_rest_shows_its_use(tmp_path: Path) -> None:
    """A group that comes while all rest is read when it used something, and the others need not be before."""
    containers = Containers(tmp_path, count=20)
    containers.settle()
    containers.cpu_us.append(0)
    containers.memory_bytes.append(0)
    containers.io_bytes.append(0)
    containers.use(20)
    assert containers.workloads.refresh(0)
    assert containers.shown(CPU)[20] == 0
    containers.use(20, cpu_us=7, io_bytes=9)
    assert containers.shown(CPU)[20] == 7
    assert containers.shown(IO)[20] == 9
    containers.workloads.close()


def test_io_without_cpu_time_is_seen(tmp_path: Path) -> None:
    """What the kernel writes back later, while nothing runs, is in the interval in which it was written."""
    containers = Containers(tmp_path)
    containers.settle()
    containers.use(3, io_bytes=4096)
    assert containers.shown(IO)[3] == 4097
    containers.workloads.close()


@pytest.mark.parametrize("version", [V1, V2])
def test_gauges_rest_while_their_sum_does_and_nobody_runs(tmp_path: Path, version: str) -> None:
    """A gauge shows what it should within five ticks of a change of the sum, or beside somebody's use."""
    containers = Containers(tmp_path, version)
    containers.settle()
    containers.use(3, memory_bytes=50)
    for _ in range(5):
        shown = containers.shown(MEMORY)
    assert shown[3] == 51
    containers.use(4, memory_bytes=-1)
    containers.use(5, memory_bytes=1)
    for _ in range(5):
        shown = containers.shown(MEMORY)
    assert shown[4:6] == [1, 1], "nobody ran: the kernel cannot have given one's memory to another"
    containers.use(5, cpu_us=1)
    for _ in range(6):
        shown = containers.shown(MEMORY)
    assert shown == containers.memory_bytes
    containers.workloads.close()


@pytest.mark.parametrize("version", [V1, V2])
def test_who_works_is_read_alone(tmp_path: Path, version: str, reads: list[str]) -> None:
    """Beside one that works and grows, 99 at rest are not read; one that begins shows it in that tick."""
    containers = Containers(tmp_path, version)
    containers.settle()
    for _ in range(12):
        containers.use(17, cpu_us=5, memory_bytes=8, io_bytes=3)
        containers.shown(CPU)
    reads.clear()
    containers.use(17, cpu_us=5, memory_bytes=8)
    assert containers.shown(CPU) == containers.cpu_us
    assert len([each for each in reads if containers.above in each and "blkio" not in each]) <= 10
    containers.use(17, cpu_us=5)
    containers.use(60, cpu_us=2, memory_bytes=70)
    assert containers.shown(CPU) == containers.cpu_us
    assert containers.shown(MEMORY) == containers.memory_bytes
    containers.workloads.close()


def test_own_processes_speak_for_nobody(tmp_path: Path) -> None:
    """Where what contains them uses CPU time itself, all are read and show theirs."""
    containers = Containers(tmp_path, V1)
    containers.settle()
    for number in range(20):
        containers.use(number % 3, cpu_us=7)
        containers.use(50 + number, cpu_us=1)
        containers.fake.show(containers.above, cpu_us=sum(containers.cpu_us) + 100 * number)
        assert containers.shown(CPU) == containers.cpu_us
    containers.workloads.close()


@pytest.mark.parametrize("above", [False, True])
def test_counters_that_go_back_hide_nothing(tmp_path: Path, above: bool) -> None:
    """Once the counter of a container, or of what contains them, is set to 0, the use of others shows."""
    containers = Containers(tmp_path, V1)
    containers.settle()
    for _ in range(3):
        containers.use(17, cpu_us=50)
        containers.shown(CPU)
    (cpuacct, *_) = containers.fake.directories(containers.above if above else containers.path(17))
    containers.use(40, cpu_us=30)
    (cpuacct / "cpuacct.usage").write_text("0\n")
    shown = containers.shown(CPU)
    assert shown[40] == 31
    assert shown[17] == containers.cpu_us[17]
    before = sum(containers.cpu_us)
    for number in (3, 17, 40):
        containers.cpu_us[number] += 20
        lost_us = 151 if number == 17 and not above else 0
        containers.fake.show(containers.path(number), cpu_us=containers.cpu_us[number] - lost_us)
    containers.fake.show(containers.above, sum(containers.cpu_us) - (before if above else 0))
    assert containers.shown(CPU) == containers.cpu_us
    containers.workloads.close()


def test_a_v1_sum_that_is_none_speaks_for_nobody(tmp_path: Path) -> None:
    """Where a memory group does not hold those below it, gauges are read in turns as ever."""
    containers = Containers(tmp_path, V1)
    for directory in containers.fake.directories(containers.above):
        (directory / "memory.use_hierarchy").write_text("0\n")
    containers.workloads.close()
    containers.workloads = Workloads(containers.fake.roots)
    containers.workloads.refresh(0)
    containers.settle()
    containers.use(4, memory_bytes=-1)
    containers.use(5, memory_bytes=1)
    for _ in range(5):
        shown = containers.shown(MEMORY)
    assert shown[4:6] == [0, 2]
    containers.workloads.close()


def test_a_tree_is_read_where_it_moved(tmp_path: Path, reads: list[str]) -> None:
    """Of pods with containers only the pod that moved is read, though what contains all pods moved."""
    fake = FakeCgroups(tmp_path, V2)
    pods = [f"/kubepods/pod{number}" for number in range(6)]
    for pod in ("/kubepods", *pods):
        fake.make(pod, cpu_us=10)
    for pod in pods:
        for number in range(5):
            fake.make(f"{pod}/{number:064x}", cpu_us=1)
    workloads = Workloads(fake.roots)
    workloads.refresh(0)
    for _ in range(12):
        workloads.refresh(0)
        workloads.read(0)
    fake.show("/kubepods", cpu_us=13)
    fake.show(pods[2], cpu_us=13)
    fake.show(f"{pods[2]}/{4:064x}", cpu_us=4)
    reads.clear()
    values = workloads.read(0)
    touched = {each.rpartition("/")[0] for each in reads if each.endswith("cpu.stat")}
    for pod in pods:
        assert (str(fake.directories(f"{pod}/{4:064x}")[0]) in touched) == (pod == pods[2])
    assert sum(v == 4 for s, v in zip(workloads.series, values, strict=True) if s.metric == CPU) == 1
    workloads.close()


def test_what_contains_groups_may_be_made_anew(tmp_path: Path) -> None:
    """A group that went with all below it and came again speaks for those that are there now."""
    containers = Containers(tmp_path, count=8)
    containers.settle()
    for number in range(8):
        containers.fake.remove(containers.path(number))
    containers.fake.remove(containers.above)
    containers.settle()
    containers.cpu_us, containers.memory_bytes, containers.io_bytes = ([0] * 8 for _ in range(3))
    for number in range(8):
        containers.use(number)
    containers.settle()
    before = containers.shown(CPU)
    containers.use(5, cpu_us=3)
    now = containers.shown(CPU)
    assert [b - a for a, b in zip(before, now, strict=True)] == [0, 0, 0, 0, 0, 3, 0, 0]
    containers.workloads.close()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """Nothing that was opened for what contains groups stays open."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    containers = Containers(tmp_path)
    containers.settle()
    containers.workloads.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_kernels_groups_are_told_to_the_microsecond(
    version: str, cgroup: Callable[[str], Path], need: Callable[[str], None]
) -> None:
    """Whichever of six real groups work in a tick, or none: each shows what the kernel has for it."""
    token = os.urandom(4).hex()
    names = [f"/docker/{number:04x}{token}{0:052x}" for number in range(6)]
    groups = [cgroup("/docker")]
    roots = Roots()
    if version == "v2" and (groups[0] / "cpuacct.usage").exists():
        roots = Roots(cgroupfs=Path("/sys/fs/cgroup/unified"))
        if not (roots.cgroupfs / "cgroup.controllers").exists():
            need("a cgroup v2 hierarchy to write to")
    elif version == "v1" and not (groups[0] / "cpuacct.usage").exists():
        pytest.skip("no v1 hierarchy that counts CPU time")
    top = roots.cgroupfs / "docker" if version == "v2" else groups[0]
    top.mkdir(exist_ok=True)
    groups = []
    for name in names:
        cgroup(name)
        groups.append(top.parent / name[1:])
        groups[-1].mkdir(exist_ok=True)
    workloads = Workloads(roots)
    try:
        workloads.refresh(0)
        chance = random.Random(1)
        for _ in range(12):
            for group in groups:
                if chance.random() < 0.2:
                    burn(0.01, group)
            workloads.refresh(0)
            values = workloads.read(0)
            shown = {s.workload: v for s, v in zip(workloads.series, values, strict=True) if s.metric == CPU}
            for name, group in zip(names, groups, strict=True):
                kernel_us = _kernel_us(group)
                # v2 has whole microseconds: what is below one may show later.
                assert kernel_us - shown[f"docker.{name[8:20]}"] in ((0,) if version == "v1" else (0, 1))
    finally:
        workloads.close()


def _kernel_us(group: Path) -> int:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) // 1000
    return int((group / "cpu.stat").read_text().split()[1])
