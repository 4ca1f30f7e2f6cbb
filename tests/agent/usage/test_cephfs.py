"""CephFS mounts of the kernel."""

from pathlib import Path

import pytest

from joulebook.agent.usage.cephfs import CephfsMounts, values_of
from joulebook.v1 import metrics_pb2 as m
from tests.fixtures.trees import build, roots_of, write

_CLUSTER = "3ce6611a-4623-46fe-8196-800591f96003"


def test_mounts_of_old_and_new_kernels(tmp_path: Path) -> None:
    """A new kernel's directory of tables and an old one's single file; a client without mounts is none."""
    cephfs = CephfsMounts(build("storage", tmp_path))
    assert cephfs.is_there()
    answered = cephfs.ask()
    by_name = {told.device.name: told.values for told in answered.told}
    assert by_name[f"cephfs:{_CLUSTER}.client4242"] == {
        m.METRIC_DEVICE_FS_OPERATIONS: 798 + 2394 + 79,
        m.METRIC_DEVICE_FS_WAIT: 798 * 32000 + 2394 * 58800 + 79 * 12856,
        m.METRIC_DEVICE_FS_READ: 52_297_728,
        m.METRIC_DEVICE_FS_WRITTEN: 10_041_163_776,
    }
    assert set(by_name[f"cephfs:{_CLUSTER}.client77"]) == {
        m.METRIC_DEVICE_FS_OPERATIONS,
        m.METRIC_DEVICE_FS_WAIT,
    }
    assert (len(by_name), answered.unread) == (2, ())


def test_a_mean_that_was_rounded_makes_no_time_fall(tmp_path: Path) -> None:
    """Times are total × mean; one more quick request may lower the product, and the time stands still."""
    roots = build("storage", tmp_path)
    cephfs = CephfsMounts(roots)
    table = roots.sysfs / f"kernel/debug/ceph/{_CLUSTER}.client4242/metrics/latency"
    waits = []
    for line in ("read 100 50", "read 101 49", "read 110 50"):
        write(table, f"item total avg_lat(us)\n----\n{line}\nwrite 0 0")
        waits.append(cephfs.ask().told[0].values[m.METRIC_DEVICE_FS_WAIT])
    assert waits == [5000, 5000, 5500]


@pytest.mark.parametrize(
    "data", [b"", b"item total avg_lat(us)\nread 5", b"item total avg_lat(us)\nread x y"]
)
def test_damaged_tables_are_refused(data: bytes) -> None:
    """A table without its rows is told of, not taken for an idle mount."""
    with pytest.raises(ValueError, match=r"expected a table|invalid literal"):
        values_of(data)


def test_without_debugfs_it_says_what_to_do(tmp_path: Path) -> None:
    """A mount whose figures cannot be had names the fix; no mount is quiet."""
    roots = roots_of(tmp_path)
    assert not CephfsMounts(roots).is_there()
    write(roots.procfs / "self/mounts", "mon:/ /ceph ceph rw 0 0")
    cephfs = CephfsMounts(roots)
    assert cephfs.is_there()
    with pytest.raises(OSError, match="mount debugfs"):
        cephfs.ask()
