"""The cgroup files, parsed."""

import pytest

from joulebook.agent.workloads import figures

LAYERED = frozenset((b"7", b"9", b"253"))


def test_cpuacct_usage_is_in_nanoseconds() -> None:
    """v1 counts nanoseconds, to each of which what is below a group adds up."""
    assert figures.parse_cpuacct_usage_ns(b"1234567\n") == 1_234_567


@pytest.mark.parametrize(
    ("raw", "usage_us"),
    [
        (b"usage_usec 44286912\nuser_usec 30337664\nsystem_usec 13949247\n", 44286912),
        (b"usage_usec 0\nuser_usec 0\n", 0),
        (b"usage_usec 18446744073709551\nus", 18446744073709551),
    ],
)
def test_cpu_stat_is_read_from_its_first_line(raw: bytes, usage_us: int) -> None:
    """v2's first line is the whole use, in microseconds; the rest need not be there."""
    assert figures.parse_cpu_stat_us(raw) == usage_us


@pytest.mark.parametrize("raw", [b"", b"user_usec 1\n", b"usage_usec 12", b"usage_usec x\n"])
def test_cpu_stat_of_another_shape_is_refused(raw: bytes) -> None:
    """A file that is cut off or begins otherwise gives an error, never a wrong figure."""
    with pytest.raises(ValueError, match=r"."):
        figures.parse_cpu_stat_us(raw)


@pytest.mark.parametrize(
    ("raw", "devices"),
    [
        (b"", {}),
        (b"8:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=5 dios=6\n", {b"8:0": 120}),
        (
            b"8:0 rbytes=100 wbytes=20 rios=1 wios=1\n253:0 rbytes=100 wbytes=20 rios=1 wios=1\n",
            {b"8:0": 120},
        ),
        (b"259:0 rbytes=1 wbytes=2 rios=1\n8:16 rbytes=4 wbytes=8\n", {b"259:0": 3, b"8:16": 12}),
        (b"7:0 \n8:0 rbytes=5 wbytes=0\n", {b"8:0": 5}),
    ],
)
def test_io_stat_counts_each_byte_once(raw: bytes, devices: dict[bytes, int]) -> None:
    """Reads and writes of a disk add up; devices made of others are left out."""
    assert figures.parse_io_stat_bytes(raw, LAYERED) == devices


def test_blkio_counts_each_byte_once() -> None:
    """v1's reads and writes add up without the totals and without layered devices."""
    raw = b"8:0 Read 100\n8:0 Write 20\n8:0 Total 120\n253:0 Read 100\n253:0 Write 20\nTotal 240\n"
    assert figures.parse_blkio_bytes(raw, LAYERED) == {b"8:0": 120}
    assert figures.parse_blkio_bytes(b"Total 0\n", LAYERED) == {}


def test_layered_majors_come_from_the_block_section() -> None:
    """Numbers of layered block drivers are taken; character devices of the same number are not."""
    raw = (
        b"Character devices:\n  1 mem\n  7 vcs\n\nBlock devices:\n"
        b"  7 loop\n  8 sd\n  9 md\n253 device-mapper\n259 blkext\n"
    )
    assert figures.parse_layered_majors(raw) == LAYERED
    assert figures.parse_layered_majors(b"") == frozenset()
