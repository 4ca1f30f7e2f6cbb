"""The files of /sys/cray/pm_counters, as bytes and names."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.pm_counters_files import energy_files, parse_number, parse_reading
from tests.simulated.garbage import spoilt_bytes


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"612345678 J 1764432188123456 us\n", 612345678), (b"598732067 J\n", 598732067), (b"0 J 1 us", 0)],
)
def test_a_reading_is_value_unit_and_perhaps_a_time(data: bytes, value: int) -> None:
    """Both the old form without a time stamp and the new one are read."""
    assert parse_reading(data, b"J") == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"6123456",
        b"612345678 J 17644",
        b"612345678 J 1764432188123456",
        b"612 W 1764432188123456 us\n",
        b"-1 J 1 us\n",
        b"1e9 J 1 us\n",
        b"9" * 64 + b" J 1 us\n",
        b"\x00\xff\x00",
        b"612345678 J 1 us\n613 J 2 us\n",
    ],
)
def test_what_is_cut_off_or_of_another_unit_is_no_reading(data: bytes) -> None:
    """A truncated, binary, negative or foreign file never becomes a number of joules."""
    with pytest.raises(ValueError, match="expected a number"):
        parse_reading(data, b"J")


@pytest.mark.parametrize(("data", "number"), [(b"8219375\n", 8219375), (b"12 1764 us\n", 12), (b"0", 0)])
def test_a_number_is_what_a_file_begins_with(data: bytes, number: int) -> None:
    """freshness and its like may have a time stamp after them."""
    assert parse_number(data) == number


@pytest.mark.parametrize("data", [b"", b"abc", b"-4", b"12abc", b"9" * 40])
def test_no_number_is_an_error(data: bytes) -> None:
    """Garbage is told, not guessed at."""
    with pytest.raises(ValueError, match="expected a number"):
        parse_number(data)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        # Cray XC: one file for each kind of part.
        (["energy", "power", "accel_energy", "freshness"], {"node": "energy", "gpu.0": "accel_energy"}),
        (
            ["cpu_energy", "cpu0_energy", "cpu1_energy", "memory_energy", "energy", "accel10_energy"],
            {
                "node": "energy",
                "gpu.10": "accel10_energy",
                "cpu.0": "cpu0_energy",
                "cpu.1": "cpu1_energy",
                "memory.0": "memory_energy",
            },
        ),
        (["energy", "energy_cap", "xenergy", "cpu_energy_total"], {"node": "energy"}),
        ([], {}),
    ],
)
def test_each_domain_has_one_file(names: list[str], files: dict[str, str]) -> None:
    """A sum is left out beside its parts, and what is no energy is passed over."""
    assert energy_files(names) == files


@given(spoilt_bytes(b"226 W 1384194183124735 us\n") | st.binary(max_size=40), st.sampled_from([b"W", b"J"]))
def test_a_spoilt_file_is_a_number_or_refused(data: bytes, unit: bytes) -> None:
    """Whatever stands in a file, it is a number that a counter can have or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 <= parse_reading(data, unit) < 10**18
    with contextlib.suppress(ValueError):
        assert 0 <= parse_number(data) < 10**18


@given(
    st.lists(st.text(max_size=20) | spoilt_bytes(b"accel0_energy").map(lambda b: b.decode(errors="replace")))
)
def test_any_names_are_files_of_domains_or_none(names: list[str]) -> None:
    """Whatever a directory holds, each domain has one of its files."""
    files = energy_files(names)
    assert set(files.values()) <= set(names)
