"""Modelled energy from the use of a node."""

from pathlib import Path

from joulebook.agent.meters.model import ModelMeter, package_cpus
from joulebook.agent.source import ABSENT, Probe, Roots
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disk_rest import DiskRest
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.memory import MemoryUsage
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, write

S = 1_000_000


class Node:
    """A model over the usage sources of one tree."""

    def __init__(self, roots: Roots) -> None:
        self.cpu, self.memory, self.disks = CpuUsage(roots), MemoryUsage(roots), DiskUsage(roots)
        self.rest = DiskRest(180 * S)
        self.model = ModelMeter(roots, self.cpu, self.memory, self.disks, self.rest)

    def probe(self) -> Probe:
        for source in (self.cpu, self.memory, self.disks):
            source.probe()
        return self.model.probe()

    def read(self, now_us: int) -> list[int]:
        for source in (self.cpu, self.memory, self.disks):
            source.read(now_us)
        return list(self.model.read(now_us))

    def close(self) -> None:
        for source in (self.cpu, self.memory, self.disks):
            source.close()


def test_a_virtual_machine_is_modelled(tmp_path: Path) -> None:
    """On a VM the CPU and the memory are modelled, and its virtual disks are not."""
    node = Node(build("vm", tmp_path))
    probe = node.probe()
    assert [domain.name for domain in probe.domains] == ["cpu.0", "memory.0"]
    assert {domain.kind for domain in probe.domains} == {report_pb2.SOURCE_KIND_MODEL}
    assert [domain.idle_power_mw for domain in probe.domains] == [1480, 9227]
    assert node.read(0) == [0, 0, 0, 0]
    assert node.read(S) == [1_480_000, 0, 9_227_000, 0]
    assert node.model.offsets_uj() == (0, 0)
    assert node.model.findings() == ()
    node.close()


def test_busy_time_adds_to_idle_power(tmp_path: Path) -> None:
    """A second of two busy CPUs costs their maximum."""
    roots = build("vm", tmp_path)
    node = Node(roots)
    node.probe()
    node.read(0)
    write(roots.procfs / "stat", "cpu  3197 0 1341 207841 182 0 28 6 0 0\ncpu0 1\ncpu1 1")
    assert node.read(S)[0] == 7_000_000
    node.close()


def test_packages_share_by_their_cpus(tmp_path: Path) -> None:
    """Each package has its share of the CPU energy, with no µJ of drift over many short reads."""
    node = Node(build("xeon-2s", tmp_path))
    assert [domain.name for domain in node.probe().domains] == [
        "cpu.0",
        "cpu.1",
        "memory.0",
        "disk.nvme0n1",
        "disk.sda",
        "disk.sdb",
    ]
    for now_us in range(0, 1001 * 333, 333):
        values = node.read(now_us)
    assert values[0] == values[2] == 740 * 4 * 333_000 // 1000
    node.close()


def test_disks_cost_idle_power_operations_and_bytes(tmp_path: Path) -> None:
    """A hard disk's seeks and bytes are added to its idle power, and never pass its maximum."""
    roots = build("xeon-2s", tmp_path)
    node = Node(roots)
    assert [domain.name for domain in node.probe().domains][3:] == ["disk.nvme0n1", "disk.sda", "disk.sdb"]
    node.read(0)
    stat = roots.sysfs / "block/sda/stat"
    write(
        stat, "  500010     1000 40002000  4000000   100000    20000  8000000   800000  0  3500100  4800000"
    )
    # 10 reads of 24.092 mJ, 1,024,000 bytes of 6.3 nJ.
    assert node.read(S)[6:10] == [5_000_000, 0, 5_300_000 + 240_920 + 6451, 0]
    write(
        stat, "  900010     1000 40002000  4000000   100000    20000  8000000   800000  0  3500100  4800000"
    )
    assert node.read(2 * S)[8] == 5_547_371 + 9_400_000
    node.close()


def test_probing_again_keeps_the_series(tmp_path: Path) -> None:
    """A second probe never makes energy fall."""
    node = Node(build("xeon-2s", tmp_path))
    node.probe()
    node.read(0)
    before = node.read(S)
    node.probe()
    assert node.read(S) == before
    node.close()


def test_nothing_to_model_is_quiet(tmp_path: Path) -> None:
    """Where nothing is known of a node the model is absent."""
    node = Node(Roots(tmp_path, tmp_path, tmp_path, tmp_path))
    assert [finding.state for finding in node.probe().findings] == [ABSENT]
    assert node.model.read(0) == []


def test_packages_without_topology_are_one(tmp_path: Path) -> None:
    """Where sysfs tells no packages, all CPUs are of package 0."""
    assert package_cpus(Roots(sysfs=tmp_path), 6) == {0: 6}


def test_a_hard_disk_in_standby_draws_less(tmp_path: Path) -> None:
    """While it is known to rest a hard disk has its standby watts, and from the first read on idle ones."""
    roots = build("xeon-2s", tmp_path)
    node = Node(roots)
    place = 2 * [domain.name for domain in node.probe().domains].index("disk.sda")
    (disk,) = [disk for disk in node.disks.disks if disk.device.name == "sda"]
    node.read(0)
    assert node.read(10 * S)[place] == 53_000_000
    node.rest.told("sda", is_resting=True, moved=disk.last[:4], now_us=10 * S)
    assert node.read(20 * S)[place] == 53_000_000 + 12_700_000
    write(
        roots.sysfs / "block/sda/stat",
        "500001 1000 40000000 4000000 100000 20000 8000000 800000 0 3500000 4800000",
    )
    woken = node.read(30 * S)[place]
    assert 0 < woken - 53_000_000 - 12_700_000 - 53_000_000 < 100_000
    # An SSD has no such state that anything tells of.
    ssd = [domain.name for domain in node.model.probe().domains].index("disk.sdb")
    (other,) = [disk for disk in node.disks.disks if disk.device.name == "sdb"]
    before = node.read(40 * S)[2 * ssd]
    node.rest.told("sdb", is_resting=True, moved=other.last[:4], now_us=40 * S)
    assert node.read(50 * S)[2 * ssd] - before == 11_000_000
    node.close()
