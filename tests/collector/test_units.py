"""Joules, watts and shares are written as people read them, and no finer than they are known."""

import pytest

from joulebook.collector.units import duration, energy, percent, power


@pytest.mark.parametrize(
    ("energy_uj", "plus_minus_uj", "expected"),
    [
        (0, None, "0 J"),
        (1, None, "1 µJ"),
        (999, None, "999 µJ"),
        (1_234, None, "1.234 mJ"),
        (12_345_678, None, "12.35 J"),
        (3_600_000_000_000, None, "3.600 MJ"),
        (12_345_678_901, 345_678_901, "12.35 ± 0.35 kJ"),
        (0, 2_000_000, "0.000 ± 2.000 J"),
        (-1, None, "-1 µJ"),
        (10**24, None, "1000 PJ"),
    ],
)
def test_energy(energy_uj: int, plus_minus_uj: int | None, expected: str) -> None:
    """Four digits with a prefix, the ± to the same place."""
    assert energy(energy_uj, plus_minus_uj) == expected


@pytest.mark.parametrize(
    ("power_mw", "expected"),
    [(None, "–"), (0, "0 W"), (12, "12 mW"), (63_500, "63.50 W"), (2 * 10**9, "2.000 MW")],
)
def test_power(power_mw: int | None, expected: str) -> None:
    """Watts with a prefix; a dash for what is not known."""
    assert power(power_mw) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.0174, "17 ms"), (59.94, "59.9 s"), (3723, "1:02:03")])
def test_duration(seconds: float, expected: str) -> None:
    """Milliseconds below a second, seconds up to a minute, then hours, minutes and seconds."""
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0 %"), (1, "100 %"), (0.00001, "0.1 %"), (0.99999, "99.9 %"), (0.5, "50.0 %")],
)
def test_percent(share: float, expected: str) -> None:
    """What is nearly all or nothing is not written as all or nothing."""
    assert percent(share) == expected
