"""No two Reports of one number end an interval at the same time of the wall clock."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.wall_clock import FILE, WallClock
from joulebook.v1 import report_pb2
from joulebook.v1.naming import MAX_WALL_CLOCK

_WALL_US = 1_790_000_000_000_000
_TICK_US = 1_000_000
# How far the clock is set after a Report, by multiples of ticks so that ends fall on each other; and
# whether the agent, or the machine with its boot clock, begins anew.
_EVENTS = st.tuples(
    st.integers(-40, 40) | st.just(0), st.sampled_from(["", "agent", "machine"]), st.integers(1, 10)
)


@given(st.lists(_EVENTS, max_size=40))
def test_no_two_intervals_of_a_number_end_together(events: list[tuple[int, str, int]]) -> None:
    """Whatever the clock is set to, and whoever restarts, times of one number only go on."""
    with tempfile.TemporaryDirectory() as directory:
        clock = WallClock(Path(directory))
        newest_us: dict[int, int] = {}
        boot_us, wall_us = 50_000_000, _WALL_US
        for set_ticks, restart, ticks in events:
            report = report_pb2.Report(
                sequence=boot_us, realtime_offset_us=wall_us - boot_us, interval_us=[_TICK_US] * ticks
            )
            clock.stamp(report)
            before_us = newest_us.get(report.wall_clock, 0)
            assert wall_us + _TICK_US > before_us
            lower = [newest_us.get(number, 0) for number in range(report.wall_clock)]
            assert all(used_us >= wall_us + _TICK_US for used_us in lower), "the lowest that is free"
            boot_us += ticks * _TICK_US
            wall_us += ticks * _TICK_US
            newest_us[report.wall_clock] = wall_us
            wall_us += set_ticks * _TICK_US
            if restart:
                clock.close()
                clock = WallClock(Path(directory))
                boot_us = 1_000_000 if restart == "machine" else boot_us
        clock.close()


def test_more_numbers_than_there_are(tmp_path: Path) -> None:
    """A clock that is set back without end gets the last number again, and no other."""
    with closing(WallClock(tmp_path)) as clock:
        for back in range(MAX_WALL_CLOCK + 10):
            report = report_pb2.Report(sequence=10**9 - back, interval_us=[1000])
            clock.stamp(report)
            assert report.wall_clock == min(back, MAX_WALL_CLOCK)


@pytest.mark.parametrize("content", [b"what?", b"\xff\xfe\n" * 50, b"12 x\n"])
def test_a_damaged_memory_is_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no list of times is said and written over, and the agent goes on."""
    (tmp_path / FILE).write_bytes(content)
    report = report_pb2.Report(sequence=7, realtime_offset_us=_WALL_US, interval_us=[1000])
    with closing(WallClock(tmp_path)) as clock:
        assert "expected times in µs; begun anew" in caplog.text
        clock.stamp(report)
    assert report.wall_clock == 0
    with closing(WallClock(tmp_path)) as clock:
        clock.stamp(report)
    assert report.wall_clock == 1


def test_without_a_directory_it_remembers_while_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In memory, or where the directory cannot be used, which is said, Reports are numbered all the same."""
    for directory in (None, tmp_path / "missing"):
        with closing(WallClock(directory)) as clock:
            numbers = []
            for _ in range(3):
                report = report_pb2.Report(sequence=7, interval_us=[1000, 1000])
                clock.stamp(report)
                numbers.append(report.wall_clock)
        assert numbers == [0, 1, 2]
    assert "No such file" in caplog.text
    assert list(tmp_path.iterdir()) == []
