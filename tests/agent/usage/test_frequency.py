"""Frequency of the CPUs."""

import os
from pathlib import Path

import pytest

from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING
from joulebook.agent.usage.frequency import FrequencyUsage, parse_khz
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


def test_the_mean_of_each_packages_cores(tmp_path: Path) -> None:
    """One thread of each core is read, and a package shows the mean."""
    roots = build("xeon-2s", tmp_path)
    frequency = FrequencyUsage(roots)
    probe = frequency.probe()
    assert [series.device for series in probe.series] == ["cpu.0", "cpu.1"]
    assert list(frequency.read(0)) == [2_450_000, 2_850_000]
    write(roots.sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 3_400_000)
    assert list(frequency.read(S)) == [2_950_000, 2_850_000]
    frequency.close()


def test_many_cores_are_read_in_turns(tmp_path: Path) -> None:
    """Of 20 cores 8 are read in a tick; after three ticks every change is seen."""
    roots = roots_of(tmp_path)
    cpus = [roots.sysfs / f"devices/system/cpu/cpu{number}" for number in range(20)]
    for cpu in cpus:
        write(cpu / "cpufreq/scaling_cur_freq", 1_000_000)
    frequency = FrequencyUsage(roots)
    frequency.probe()
    for cpu in cpus:
        write(cpu / "cpufreq/scaling_cur_freq", 2_000_000)
    assert [frequency.read(tick)[0] for tick in range(3)] == [1_400_000, 1_800_000, 2_000_000]
    frequency.close()


def test_a_core_that_cannot_be_read_keeps_its_value_and_is_told(tmp_path: Path) -> None:
    """Zero, garbage and absurd frequencies are dropped and counted; many of them are suspect."""
    roots = build("xeon-2s", tmp_path)
    frequency = FrequencyUsage(roots)
    frequency.probe()
    path = roots.sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    for second, content in enumerate(["0", "", "<unknown>", "99999999999", "\x00\xff"], start=1):
        write(path, content)
        assert list(frequency.read(second * S)) == [2_450_000, 2_850_000]
    (finding,) = frequency.findings()
    assert finding.state == SUSPECT
    assert finding.reason.startswith("readings dropped: 5")
    frequency.close()


def test_absent_and_unreadable(tmp_path: Path) -> None:
    """Without cpufreq it is absent; where every file is garbage it is unreadable and says which."""
    assert [f.state for f in FrequencyUsage(roots_of(tmp_path / "empty")).probe().findings] == [ABSENT]
    roots = roots_of(tmp_path)
    write(roots.sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>")
    (finding,) = FrequencyUsage(roots).probe().findings
    assert finding.state == UNREADABLE
    assert "cpu0/cpufreq/scaling_cur_freq" in finding.reason


def test_a_kernel_that_sleeps_for_each_answer_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where telling a frequency takes more than a millisecond, the tick does without."""
    clock = iter(range(0, 10**9, 10_000_000))
    monkeypatch.setattr("time.monotonic_ns", lambda: next(clock))
    (finding,) = FrequencyUsage(build("xeon-2s", tmp_path)).probe().findings
    assert finding.state == UNREADABLE
    assert "10.0 ms" in finding.reason
    assert "5.18" in finding.fix


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """Probing again and closing gives every descriptor back."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # as short as it can be
    frequency = FrequencyUsage(build("xeon-2s", tmp_path))
    assert [f.state for f in (*frequency.probe().findings, *frequency.probe().findings)] == [WORKING] * 2
    frequency.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("data", [b"", b"0", b"-1", b"20000001", b"fast"])
def test_what_is_no_frequency(data: bytes) -> None:
    """Only what a CPU can run at is a frequency."""
    with pytest.raises(ValueError, match=r"expected 1|invalid literal"):
        parse_khz(data)
