"""Kubernetes' quantities are read as it does, and what a pod reserves adds up as its scheduler does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.schedulers.quantities import requested, thousandths

MOST = 1000 << 50


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("0", 0), ("4", 4000), ("500m", 500), ("0.5", 500), (".5", 500), ("+2.", 2000), ("100u", 1),
        ("1n", 1), ("1001u", 2), ("1k", 10**6), ("1M", 10**9), ("1.5Gi", 1500 << 30), ("1e3", 10**6),
        ("1E3", 10**6), ("12e-3", 12), ("1E", MOST), ("1Ei", MOST), ("9" * 19, MOST), ("1e999", MOST),
        ("1e-999", 1),
    ],
)  # fmt: skip
def test_quantities(quantity: str, value: int) -> None:
    """Decimal and binary suffixes and exponents; rounded up; nothing is more than a store keeps."""
    assert thousandths(quantity) == value


@pytest.mark.parametrize(
    "quantity", ["", ".", "-1", "1 ", "1ki", "1KiB", "e3", "1e", "1e1000", "x", "١", "9" * 20]
)
def test_what_is_none(quantity: str) -> None:
    """What Kubernetes never writes is refused with what was expected."""
    with pytest.raises(ValueError, match="expected a quantity like 500m"):
        thousandths(quantity)


@given(st.integers(0, 10**12), st.sampled_from(["m", "", "k", "Ki", "M", "Mi"]))
def test_no_quantity_is_less_than_it_says(amount: int, suffix: str) -> None:
    """As exact as a thousandth."""
    scale = {"m": 1, "": 1000, "k": 10**6, "Ki": 1024_000, "M": 10**9, "Mi": 1000 << 20}[suffix]
    assert thousandths(f"{amount}{suffix}") == min(amount * scale, MOST)


def test_what_a_pod_reserves() -> None:
    """The most that it needs at any time: containers together, with what goes on beside them."""
    cpu = [{"cpu": "1"}, {"cpu": "500m", "memory": "1"}]
    assert requested(cpu) == {"cpu": 1500, "memory": 1000}
    assert requested(cpu, [({"cpu": "4"}, False)]) == {"cpu": 4000, "memory": 1000}
    before = [({"cpu": "2"}, True), ({"cpu": "3"}, False), ({"cpu": "1"}, True)]
    assert requested(cpu, before) == {"cpu": 5000, "memory": 1000}, "2 beside 3"
    assert requested([{"cpu": "3"}], before) == {"cpu": 6000}, "2 and 1 beside 3"
    assert requested(cpu, pod={"cpu": "7"}, overhead={"cpu": "250m"}) == {"cpu": 7250, "memory": 1000}
    assert requested([]) == {}
