"""Throttling by heat."""

from pathlib import Path

from joulebook.agent.source import ABSENT, Roots
from joulebook.agent.usage.throttling import ThrottlingUsage
from joulebook.v1 import metrics_pb2 as m
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


def _throttle(roots: Roots, cpu: int, name: str) -> Path:
    return roots.sysfs / f"devices/system/cpu/cpu{cpu}/thermal_throttle/{name}"


def test_packages_and_cores(tmp_path: Path) -> None:
    """A package's slowdowns and their time, and its cores' slowdowns since the agent began."""
    roots = build("xeon-2s", tmp_path)
    throttling = ThrottlingUsage(roots)
    probe = throttling.probe()
    assert [(series.device, series.metric) for series in probe.series[:3]] == [
        ("cpu.0", m.METRIC_DEVICE_CPU_THROTTLES),
        ("cpu.0", m.METRIC_DEVICE_CPU_THROTTLED),
        ("cpu.0", m.METRIC_DEVICE_CORE_THROTTLES),
    ]
    first = list(throttling.read(0))
    assert first == [5, 120_000, 3, 6, 121_000, 3]
    write(_throttle(roots, 4, "package_throttle_count"), 8)
    write(_throttle(roots, 4, "package_throttle_total_time_ms"), 4_121)
    write(_throttle(roots, 5, "core_throttle_count"), 10)
    assert list(throttling.read(S)) == [5, 120_000, 3, 8, 4_121_000, 10]
    throttling.close()


def test_an_older_kernel_keeps_no_time(tmp_path: Path) -> None:
    """Without the time's file the time stays 0."""
    roots = build("xeon-2s", tmp_path)
    for cpu in range(8):
        _throttle(roots, cpu, "package_throttle_total_time_ms").unlink()
    throttling = ThrottlingUsage(roots)
    throttling.probe()
    assert list(throttling.read(0)) == [5, 0, 3, 6, 0, 3]
    throttling.close()


def test_a_damaged_file_stands_still_and_leaves_the_others(tmp_path: Path) -> None:
    """What falls or is no number is counted as dropped; other packages go on."""
    roots = build("xeon-2s", tmp_path)
    throttling = ThrottlingUsage(roots)
    throttling.probe()
    before = list(throttling.read(0))
    write(_throttle(roots, 0, "package_throttle_count"), "?")
    write(_throttle(roots, 1, "core_throttle_count"), 0)
    write(_throttle(roots, 4, "package_throttle_count"), 7)
    assert list(throttling.read(S)) == [*before[:3], 7, *before[4:]]
    (finding,) = throttling.findings()
    assert finding.reason.startswith("readings dropped: 2")
    throttling.close()


def test_absent_elsewhere(tmp_path: Path) -> None:
    """AMD, ARM and virtual machines have none."""
    assert [f.state for f in ThrottlingUsage(roots_of(tmp_path)).probe().findings] == [ABSENT]
