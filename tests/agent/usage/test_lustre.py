"""Lustre, client and server."""

from pathlib import Path

import pytest

from joulebook.agent.usage.lustre import Lustre, parse_stats
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.fixtures.trees import build, roots_of, write

_INSTANCE = "ffff9bc043537800"


def test_a_mount_counts_what_went_over_the_network(tmp_path: Path) -> None:
    """Bytes, requests and times are those of the mount's own connections, not of its cache or another's."""
    told = {told.device.name: told for told in Lustre(build("storage", tmp_path)).ask().told}
    mount = told[f"lustre:scratch-{_INSTANCE}"]
    assert mount.device.kind == report_pb2.DEVICE_KIND_NETWORK_STORAGE
    assert mount.values == {
        m.METRIC_DEVICE_FS_READ: 1_048_576_000 + 524_288_000,
        m.METRIC_DEVICE_FS_WRITTEN: 2 * 20_971_520,
        m.METRIC_DEVICE_FS_OPERATIONS: 1100 + 600 + 300,
        m.METRIC_DEVICE_FS_WAIT: 5_000_000 + 2_500_000 + 250_000,
    }


def test_targets_of_old_and_new_versions(tmp_path: Path) -> None:
    """Operations are counted once, whether bytes have lines of their own beside them or stand for them."""
    told = {told.device.name: told for told in Lustre(build("storage", tmp_path)).ask().told}
    new, old, meta = (told[f"lustre.scratch-{name}"] for name in ("OST0004", "OST0005", "MDT0000"))
    assert new.device.kind == report_pb2.DEVICE_KIND_STORAGE_DAEMON
    assert new.values == {
        m.METRIC_DEVICE_SERVED_READ: 6_126_113_210_900,
        m.METRIC_DEVICE_SERVED_WRITTEN: 388_227_000,
        m.METRIC_DEVICE_SERVED_OPERATIONS: 8449 + 800 + 5634 + 1075,
        m.METRIC_DEVICE_SERVED_WAIT: 80_065_680 + 8_006_568 + 6000,
        m.METRIC_DEVICE_CAPACITY: 105_000_000_000 << 10,
        m.METRIC_DEVICE_CAPACITY_USED: 45_000_000_000 << 10,
    }
    assert old.values == {
        m.METRIC_DEVICE_SERVED_READ: 612_611_321_090_048,
        m.METRIC_DEVICE_SERVED_WRITTEN: 33_554_431,
        m.METRIC_DEVICE_SERVED_OPERATIONS: 1_590_792_638 + 9 + 7_713_634,
        m.METRIC_DEVICE_SERVED_WAIT: 0,
    }
    assert meta.values[m.METRIC_DEVICE_SERVED_OPERATIONS] == 293_759_658 + 675_832_392
    assert meta.values[m.METRIC_DEVICE_SERVED_WAIT] == 38_223_033_629 + 15_359_059_495


def test_without_connections_the_mount_itself_is_read(tmp_path: Path) -> None:
    """Where osc and mdc show nothing, llite's calls stand for them."""
    roots = roots_of(tmp_path)
    write(
        roots.procfs / f"fs/lustre/llite/scratch-{_INSTANCE}/stats",
        "snapshot_time 1 secs.nsecs\nread_bytes 4 samples [bytes] 1 8 16\nopen 3 samples [usecs] 1 2 5 9",
    )
    lustre = Lustre(roots)
    assert lustre.is_there()
    (told,) = lustre.ask().told
    assert told.values == {
        m.METRIC_DEVICE_FS_READ: 16,
        m.METRIC_DEVICE_FS_WRITTEN: 0,
        m.METRIC_DEVICE_FS_OPERATIONS: 7,
        m.METRIC_DEVICE_FS_WAIT: 5,
    }


def test_one_bad_target_leaves_the_others(tmp_path: Path) -> None:
    """A target whose file was cut is named."""
    roots = build("storage", tmp_path)
    write(roots.procfs / "fs/lustre/obdfilter/scratch-OST0004/stats", "snap")
    answered = Lustre(roots).ask()
    assert [part.name for part in answered.unread] == ["lustre.scratch-OST0004"]
    assert len(answered.told) == 3


def test_absent_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the module there is nothing; a debugfs that may not be read says what mends it."""
    assert not Lustre(roots_of(tmp_path)).is_there()

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    lustre = Lustre(build("storage", tmp_path))
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(OSError, match="debugfs is not readable") as raised:
        lustre.ask()
    assert "CAP_DAC_READ_SEARCH" in raised.value.fix  # type: ignore[attr-defined]


def test_a_stats_file() -> None:
    """Lines with and without sums are read; a file that is none is refused."""
    stats = parse_stats(
        b"snapshot_time 1.5 secs.nsecs\nping 3 samples [reqs]\nopen 2 samples [usecs] 1 3 4 10\n"
    )
    assert [(name, stat.count, stat.unit, stat.total) for name, stat in stats.items()] == [
        ("ping", 3, "reqs", 0),
        ("open", 2, "usecs", 4),
    ]
    with pytest.raises(ValueError, match="expected snapshot_time"):
        parse_stats(b"")
