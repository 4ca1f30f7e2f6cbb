"""A disk without room stops acknowledgements, not the collector; when there is room, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.collector.ingest.committer import Committer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.store.duckdb.lasting import LastingStore
from joulebook.collector.store.protocol import StoreError
from tests.simulated.delivery import decoded, total_uj
from tests.simulated.node import Load, SimulatedNode
from tests.system.reports import Sender
from tests.system.store_process import StoreProcess


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "joulebook", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize


def _fill(disk: Path, left: int) -> None:
    """Fill a disk up to what is to be left."""
    with (disk / "else").open("ab", buffering=0) as file:
        try:
            while (more := _free(disk) - left) > 0:
                file.write(bytes(min(more, 1 << 16)))
        except OSError:
            assert left == 0


def test_the_collector_waits_for_room(disk: Path, tmp_path: Path) -> None:
    """It says so where it begins on a full disk, and takes Reports once there is room; where one fills later,
    it refuses none for good, and goes on by itself.
    """
    collector = StoreProcess(disk / "books.duckdb", tmp_path / "log")
    sender = Sender(collector.grpc)
    _fill(disk, 0)
    process = collector.start()
    try:
        collector.said("no room on its disk")
        (disk / "else").unlink()
        collector.ready()
        sender.measure(20)
        sender.send_all()
        _fill(disk, 1 << 20)
        while not sender.refused:
            sender.measure(50)
            sender.send()
        assert set(sender.refused) == {"UNAVAILABLE"}
        sender.send()
        assert process.poll() is None
        (disk / "else").unlink()
        sender.send_all()
        assert set(sender.refused) == {"UNAVAILABLE"}
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        collector.kill()
    held, energy_uj = collector.sound()
    assert held == sender.acknowledged
    assert energy_uj == sender.node.measured_uj


def test_a_checkpoint_without_room(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where DuckDB gives the file up, since its log could not be written into it, it is opened again.

    What had been committed is in the log, and nothing of it is lost.
    """
    store = LastingStore(disk / "books.duckdb")
    committer = Committer(store, IngestStats())
    node = SimulatedNode()
    node.begin([Load(f"slurm.{n}", cpu_us=1_000_000 // n) for n in range(1, 30)])
    store.checkpoints.threshold_bytes = 600_000
    # As much as the log takes, and a block or two.
    _fill(disk, 1 << 20)
    failures = 0
    while "opened again" not in caplog.text:
        for _ in range(10):
            node.tick()
        batch = decoded(node, [node.report()])
        while True:
            try:
                placement = committer.apply(batch)
                break
            except StoreError:
                failures += 1
                assert failures < 10
                if failures == 3:
                    (disk / "else").unlink()
    assert "given up by DuckDB in a checkpoint" in caplog.text
    assert placement.new or placement.duplicate
    assert total_uj(store) == node.measured_uj
    store.close()
