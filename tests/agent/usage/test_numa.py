"""Memory by NUMA node."""

from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, UNREADABLE, Roots
from joulebook.agent.usage.numa import NumaUsage, parse_meminfo, parse_numastat
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


def test_each_nodes_memory_and_pages(tmp_path: Path) -> None:
    """Used and files' bytes, and pages given out locally and remotely, node by node."""
    numa = NumaUsage(build("xeon-2s", tmp_path))
    probe = numa.probe()
    assert [device.name for device in probe.devices] == ["numa.0", "numa.1"]
    assert list(numa.read(0)) == [
        *((263993616 - 61728394) << 10, 117283945 << 10, 9876500000, 55555),
        *((263993616 - 61728395) << 10, 117283946 << 10, 9876500001, 55556),
    ]
    numa.close()


def test_levels_are_read_in_turns_and_pages_at_every_tick(tmp_path: Path) -> None:
    """A change of pages shows at once; a change of level within five ticks."""
    roots = build("xeon-2s", tmp_path)
    numa = NumaUsage(roots)
    numa.probe()
    numa.read(0)
    node = roots.sysfs / "devices/system/node/node0"
    write(node / "meminfo", "Node 0 MemTotal: 100 kB\nNode 0 MemUsed: 50 kB\nNode 0 FilePages: 20 kB")
    write(node / "numastat", "numa_hit 1\nlocal_node 9876500100\nother_node 55555")
    values = list(numa.read(S))
    assert values[2] == 9876500100
    assert values[0] == (263993616 - 61728394) << 10
    for second in range(2, 6):
        values = list(numa.read(second * S))
    assert values[:2] == [50 << 10, 20 << 10]
    numa.close()


def test_a_vanished_or_damaged_node_stands_still(tmp_path: Path) -> None:
    """Memory that is unplugged, or files that are cut, keep the last values and are told of."""
    roots = build("xeon-2s", tmp_path)
    numa = NumaUsage(roots)
    numa.probe()
    before = list(numa.read(0))
    write(roots.sysfs / "devices/system/node/node0/numastat", "numa_hit 1\nlocal_node")
    write(roots.sysfs / "devices/system/node/node1/numastat", "numa_hit 1\nlocal_node 7\nother_node 7")
    assert list(numa.read(S)) == before
    (finding,) = numa.findings()
    assert finding.reason.startswith("readings dropped: 2")
    numa.close()


def test_one_bad_node_leaves_the_other(tmp_path: Path) -> None:
    """A node without readable files is named, and the other is read."""
    roots = build("xeon-2s", tmp_path)
    write(roots.sysfs / "devices/system/node/node0/meminfo", "?")
    numa = NumaUsage(roots)
    probe = numa.probe()
    assert [device.name for device in probe.devices] == ["numa.1"]
    assert [f.name for f in probe.findings if f.state == UNREADABLE] == ["numa:node0"]
    numa.close()


def test_one_node_is_the_whole_machine(tmp_path: Path) -> None:
    """Without a second node there is nothing to tell apart."""
    assert [f.state for f in NumaUsage(roots_of(tmp_path)).probe().findings] == [ABSENT]
    NumaUsage(Roots()).probe()


@pytest.mark.parametrize(
    "data",
    [b"", b"Node 0 MemTotal: 5 kB\n", b"Node 0 MemTotal: 5 kB\nNode 0 MemUsed: 6 kB\nNode 0 FilePages: 1 kB"],
)
def test_memory_that_cannot_be(data: bytes) -> None:
    """More used than there is, or a part missing, is refused."""
    with pytest.raises(ValueError, match=r"expected at most|no Mem"):
        parse_meminfo(data)


def test_numastat() -> None:
    """The two counts are found by name, wherever they stand."""
    assert parse_numastat(b"other_node 3\nlocal_node 5\n") == (5, 3)
