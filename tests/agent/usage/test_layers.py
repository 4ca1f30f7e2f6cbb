"""Which disks lie under stacks."""

from pathlib import Path

from joulebook.agent.usage.layers import read_layers
from tests.fixtures.trees import build, write


def _block(directory: Path, name: str, *slaves: str, partitions: tuple[str, ...] = (), dm: str = "") -> None:
    """Make a block device, on slaves, with partitions, as sysfs shows it."""
    device = directory / "devices" / name
    write(device / "size", 1000)
    for partition in partitions:
        write(device / partition / "partition", 1)
    if dm:
        write(device / "dm/name", dm)
        write(device / "dm/uuid", "LVM-x")
    for slave in slaves:
        disk = next(d for d in (directory / "devices").iterdir() if d.name == slave or (d / slave).exists())
        (device / "slaves").mkdir(parents=True, exist_ok=True)
        (device / "slaves" / slave).symlink_to(disk if disk.name == slave else disk / slave)
    (directory / "block").mkdir(exist_ok=True)
    (directory / "block" / name).symlink_to(device)


def test_a_cache_on_a_raid_on_partitions(tmp_path: Path) -> None:
    """bcache over md over partitions of hard disks, and an NVMe partition: three leaves, each once."""
    _block(tmp_path, "sda", partitions=("sda1", "sda2"))
    _block(tmp_path, "sdb", partitions=("sdb1", "sdb2"))
    _block(tmp_path, "nvme0n1", partitions=("nvme0n1p3",))
    _block(tmp_path, "md0", "sda2", "sdb2")
    _block(tmp_path, "bcache0", "md0", "nvme0n1p3")
    layers = read_layers(tmp_path / "block")
    assert layers.leaves == {name: (name,) for name in ("nvme0n1", "sda", "sdb")}
    assert layers.stacks == {"bcache0": ("nvme0n1", "sda", "sdb"), "md0": ("sda", "sdb")}


def test_an_lvm_cache(tmp_path: Path) -> None:
    """A cached volume lies on its hidden data and cache volumes, and these on two disks of two tiers."""
    _block(tmp_path, "sda")
    _block(tmp_path, "nvme0n1")
    _block(tmp_path, "dm-0", "sda", dm="vg-data_corig")
    _block(tmp_path, "dm-1", "nvme0n1", dm="vg-fast_cdata")
    _block(tmp_path, "dm-2", "dm-0", "dm-1", dm="vg-data")
    layers = read_layers(tmp_path / "block")
    assert set(layers.leaves) == {"nvme0n1", "sda"}
    assert layers.stacks["vg-data"] == ("nvme0n1", "sda")


def test_a_stack_of_an_unknown_name_is_told_by_what_it_lies_on(tmp_path: Path) -> None:
    """A driver that is not known here is no disk either, if it shows what it lies on."""
    _block(tmp_path, "sda")
    _block(tmp_path, "vdo7", "sda")
    assert set(read_layers(tmp_path / "block").leaves) == {"sda"}


def test_nvme_of_several_paths_is_the_head(tmp_path: Path) -> None:
    """An NVMe disk whose paths are shown as its slaves is still one leaf."""
    _block(tmp_path, "nvme0c0n1")
    _block(tmp_path, "nvme0c1n1")
    _block(tmp_path, "nvme0n1", "nvme0c0n1", "nvme0c1n1")
    layers = read_layers(tmp_path / "block")
    assert (layers.leaves, layers.stacks) == ({"nvme0n1": ("nvme0n1",)}, {})


def test_a_tree_that_lies_in_itself_ends(tmp_path: Path) -> None:
    """A damaged tree with a loop, or with links to nowhere, is read to an end."""
    _block(tmp_path, "sda")
    _block(tmp_path, "dm-0", "sda")
    (tmp_path / "devices/dm-0/slaves/dm-0").symlink_to(tmp_path / "devices/dm-0")
    (tmp_path / "devices/dm-0/slaves/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "devices/dm-0/slaves/round").symlink_to("round")
    layers = read_layers(tmp_path / "block")
    assert layers.stacks == {"dm-0": ("sda",)}
    assert read_layers(tmp_path / "absent").leaves == {}


def test_every_kind_of_stack(tmp_path: Path) -> None:
    """RAID, encryption, LVM and its cache, bcache and multipath at once: each lies on its disks."""
    layers = read_layers(build("stacks", tmp_path).sysfs / "block")
    assert layers.leaves == {
        "nvme0n1": ("nvme0n1",),
        "sda": ("sda",),
        "sdb": ("sdb",),
        "sdc": ("sdc", "sdd"),
    }
    assert layers.stacks == {
        "md127": ("sda", "sdb"),
        "luks-data": ("sda", "sdb"),
        "data-home_corig": ("sda", "sdb"),
        "data-fast_cpool_cdata": ("nvme0n1",),
        "data-fast_cpool_cmeta": ("nvme0n1",),
        "data-home": ("nvme0n1", "sda", "sdb"),
        "bcache0": ("nvme0n1", "sda"),
        "mpatha": ("sdc",),
        "data-scratch": ("sdc",),
    }


def test_a_real_tree(tmp_path: Path) -> None:
    """A server's tree: the disks alone."""
    assert set(read_layers(build("xeon-2s", tmp_path).sysfs / "block").leaves) == {
        "nbd0",
        "nvme0n1",
        "sda",
        "sdb",
    }
