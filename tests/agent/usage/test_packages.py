"""CPU time by package and NUMA node."""

from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, WORKING, Roots
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.packages import PackageUsage, parse_lines
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
TICK_US = 10_000


def _stat(busy: list[int], labels: list[int] | None = None) -> str:
    lines = [
        f"cpu{number} {ticks - 7} 1 1 999 5 2 3 11 50 10"
        for number, ticks in zip(labels or range(len(busy)), busy, strict=True)
    ]
    return "\n".join([f"cpu  {sum(busy)} 0 0 999 0 0 0 0 0 0", *lines, "intr 12 1", "ctxt 7"])


def _sources(roots: Roots) -> tuple[CpuUsage, PackageUsage]:
    cpu = CpuUsage(roots)
    cpu.probe()
    return cpu, PackageUsage(roots, cpu)


def test_each_package_and_numa_node_has_its_cpus_time(tmp_path: Path) -> None:
    """User, nice, system and interrupt time of a package's CPUs are added; idle, iowait, steal are not."""
    roots = build("xeon-2s", tmp_path)
    write(roots.procfs / "stat", _stat([10, 20, 30, 40, 100, 200, 300, 400]))
    cpu, packages = _sources(roots)
    probe = packages.probe()
    assert [series.device for series in probe.series] == ["cpu.0", "cpu.1", "numa.0", "numa.1"]
    cpu.read(0)
    assert list(packages.read(0)) == [n * TICK_US for n in (100, 1000, 100, 1000)]
    write(roots.procfs / "stat", _stat([10, 20, 30, 50, 100, 200, 300, 420]))
    cpu.read(S)
    assert list(packages.read(S)) == [n * TICK_US for n in (110, 1020, 110, 1020)]
    cpu.close()


def test_several_numa_nodes_in_a_package_add_up_to_it(tmp_path: Path) -> None:
    """A package of two NUMA nodes is their sum."""
    roots = build("xeon-2s", tmp_path)
    for number in range(8):
        write(roots.sysfs / f"devices/system/cpu/cpu{number}/topology/physical_package_id", 0)
    write(roots.procfs / "stat", _stat([10, 20, 30, 40, 100, 200, 300, 400]))
    cpu, packages = _sources(roots)
    assert [device.name for device in packages.probe().devices] == ["cpu.0", "numa.0", "numa.1"]
    cpu.read(0)
    assert list(packages.read(0)) == [n * TICK_US for n in (1100, 100, 1000)]
    cpu.close()


def test_one_package_is_the_node(tmp_path: Path) -> None:
    """Where there is one package and no NUMA, its time is the node's, and no more of /proc/stat is read."""
    cpu, packages = _sources(build("vm", tmp_path))
    assert [device.name for device in packages.probe().devices] == ["cpu.0"]
    assert list(packages.read(0)) == [cpu.read(0)[0]]
    assert len(cpu.data) <= 256
    cpu.close()


def test_cpus_that_go_off_and_on_line_make_nothing_fall(tmp_path: Path) -> None:
    """A CPU that goes off line takes its count out of the file; the series stand still and then go on."""
    roots = build("xeon-2s", tmp_path)
    write(roots.procfs / "stat", _stat([10, 20, 30, 40, 100, 200, 300, 400]))
    cpu, packages = _sources(roots)
    packages.probe()

    def busy(now_us: int) -> list[int]:
        cpu.read(now_us)
        return [value // TICK_US for value in packages.read(now_us)]

    assert busy(0) == [100, 1000, 100, 1000]
    write(roots.procfs / "stat", _stat([10, 20, 30, 100, 200, 300, 400], [0, 1, 2, 4, 5, 6, 7]))
    assert busy(S) == [100, 1000, 100, 1000]
    write(roots.procfs / "stat", _stat([11, 20, 30, 100, 200, 300, 405], [0, 1, 2, 4, 5, 6, 7]))
    assert busy(2 * S) == [101, 1005, 101, 1005]
    write(roots.procfs / "stat", _stat([11, 20, 30, 40, 100, 200, 300, 405]))
    assert busy(3 * S) == [101, 1005, 101, 1005]
    write(roots.procfs / "stat", _stat([11, 20, 30, 49, 100, 200, 300, 405]))
    assert busy(4 * S) == [110, 1005, 110, 1005]
    assert packages.findings() == ()
    cpu.close()


def test_many_cpus_are_parsed_in_turns(tmp_path: Path) -> None:
    """With 128 CPUs every second tick parses them; what was counted meanwhile is there then."""
    roots = roots_of(tmp_path)
    for number in range(128):
        write(roots.sysfs / f"devices/system/cpu/cpu{number}/topology/physical_package_id", number // 64)
    write(roots.procfs / "stat", _stat([10] * 128))
    cpu, packages = _sources(roots)
    packages.probe()
    shown = []
    for second, busy in enumerate((10, 20, 30)):
        write(roots.procfs / "stat", _stat([busy] * 128))
        cpu.read(second * S)
        shown.append(packages.read(second * S)[0] // TICK_US)
    assert shown == [640, 640, 1920]
    cpu.close()


def test_a_count_that_jumps_is_dropped_and_told(tmp_path: Path) -> None:
    """More CPU time than four CPUs have in a second is not believed."""
    roots = build("xeon-2s", tmp_path)
    write(roots.procfs / "stat", _stat([10] * 8))
    cpu, packages = _sources(roots)
    packages.probe()
    cpu.read(0)
    before = list(packages.read(0))
    write(roots.procfs / "stat", _stat([100_000, *[10] * 7]))
    cpu.read(S)
    assert list(packages.read(S)) == before
    (finding,) = packages.findings()
    assert finding.state == WORKING
    assert "grew by" in finding.reason
    cpu.close()


@pytest.mark.parametrize(
    "data", [b"", b"cpu 1 2 3\n", b"cpu 1\ncpu0 1 2 3 4 5 6 7 8 9 10", b"cpu 1\ncpu0 1 2\nintr 5"]
)
def test_damaged_files_are_refused(data: bytes) -> None:
    """A file that was cut, or has other columns, is a ValueError, not a wrong figure."""
    with pytest.raises(ValueError, match="/proc/stat"):
        parse_lines(data)


def test_absent_without_topology(tmp_path: Path) -> None:
    """Where sysfs shows no CPUs there is nothing to share out."""
    roots = roots_of(tmp_path)
    write(roots.procfs / "stat", _stat([10, 20]))
    cpu, packages = _sources(roots)
    assert [finding.state for finding in packages.probe().findings] == [ABSENT]
    cpu.close()


def test_this_machine() -> None:
    """The packages of the machine at hand add up to its busy time."""
    cpu, packages = _sources(Roots())
    packages.probe()
    cpu.read(0)
    values = packages.read(0)
    assert values
    assert 0 < values[0] <= cpu.busy_us
    cpu.close()
