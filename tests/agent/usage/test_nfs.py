"""NFS mounts."""

from pathlib import Path

import pytest

from joulebook.agent.source import Roots
from joulebook.agent.usage.nfs import NfsMounts, add_up, parse_mountinfo, parse_mountstats
from joulebook.v1 import metrics_pb2 as m
from tests.fixtures.trees import build, roots_of, write


def _bytes(roots: Roots, name: str) -> bytes:
    return (roots.procfs / "self" / name).read_bytes()


def test_each_servers_export_once(tmp_path: Path) -> None:
    """An export mounted at two places over one connection is one device, counted once."""
    answered = NfsMounts(build("storage", tmp_path)).ask()
    by_name = {told.device.name: told.values for told in answered.told}
    assert list(by_name) == ["nfs:filer:/export/data", "nfs:filer:/export/home"]
    assert by_name["nfs:filer:/export/home"] == {
        m.METRIC_DEVICE_FS_READ: 1_048_576_000,
        m.METRIC_DEVICE_FS_WRITTEN: 524_288_000,
        m.METRIC_DEVICE_FS_OPERATIONS: 8501,
        m.METRIC_DEVICE_FS_WAIT: 15_100_000,
        m.METRIC_DEVICE_FS_EXECUTE: 15_700_000,
        m.METRIC_DEVICE_FS_ERRORS: 5,
    }
    assert answered.unread == ()


def test_mounts_of_their_own_are_added_up(tmp_path: Path) -> None:
    """The same export mounted twice with nosharecache is two superblocks, and both count."""
    roots = build("storage", tmp_path)
    mounts, _ = parse_mountstats(_bytes(roots, "mountstats"))
    devices = parse_mountinfo(_bytes(roots, "mountinfo"))
    assert devices == {b"/home": b"0:52", b"/srv/home": b"0:52", b"/data": b"0:57"}
    told = add_up(mounts, devices | {b"/srv/home": b"0:60"})
    assert told[1].values[m.METRIC_DEVICE_FS_READ] == 2 * 1_048_576_000


def test_an_older_kernel_counts_no_errors() -> None:
    """Before Linux 5.3 an operation's line has eight numbers: time-outs and transmissions are counted."""
    data = (
        b"device a:/b mounted on /m with fstype nfs statvers=1.1\n\tbytes:\t1 2 3 4 50 60 7 8\n"
        b"\tper-op statistics\n\t READ: 10 12 1 0 0 5 40 45\n"
    )
    ((mount,), unread) = parse_mountstats(data)
    assert (mount.read_bytes, mount.written_bytes, mount.operations, mount.errors) == (50, 60, 10, 3)
    assert (mount.wait_us, mount.execute_us, unread) == (40_000, 45_000, [])


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\tbytes:\t1 2 3",
        b"\tbytes:\t1 2 3 4 5 x 7 8",
        b"\tbytes:\t1 2 3 4 -5 6 7 8",
        b"\tbytes:\t1 2 3 4 5 6 7 8\n\tper-op statistics\n\tREAD: 1 2",
    ],
)
def test_a_cut_mount_is_named_and_leaves_the_others(rest: bytes) -> None:
    """What was cut short is told of by its device, and the mount after it is read."""
    head = b"device %s mounted on /m with fstype nfs4 statvers=1.1\n"
    good = head % b"c:/d" + b"\tbytes:\t1 2 3 4 5 6 7 8\n"
    mounts, unread = parse_mountstats(head % b"a:/b" + rest + b"\n" + good)
    assert [mount.device for mount in mounts] == ["c:/d"]
    assert [part.name for part in unread] == ["a:/b"]


def test_absent_without_mounts(tmp_path: Path) -> None:
    """Only NFS counts; a container's process 1 is looked at before the agent itself."""
    roots = roots_of(tmp_path)
    nfs = NfsMounts(roots)
    assert not nfs.is_there()
    write(roots.procfs / "self/mounts", "/dev/sda / ext4 rw 0 0\n/nfs4 /x bind rw 0 0")
    assert not nfs.is_there()
    write(roots.procfs / "1/mounts", "a:/b /m nfs rw 0 0")
    assert nfs.is_there()


def test_this_machine() -> None:
    """The machine's own files are read to the end."""
    NfsMounts(Roots()).ask()
