"""Counts that devices keep, and rates that become counts."""

import pytest

from joulebook.agent.meters.growing import Accumulated, Growing


@pytest.mark.parametrize(
    ("raw", "counted"),
    [
        pytest.param([5, 7, 7, 9], [5, 7, 7, 9], id="it counts on"),
        pytest.param([5, 9, 2, 3], [5, 9, 11, 12], id="the driver was loaded again"),
        pytest.param([2**32 - 10, 5], [2**32 - 10, 2**32 + 5], id="it wrapped at 32 bits"),
        pytest.param([2**33, 1], [2**33, 2**33 + 1], id="a counter of 64 bits began again"),
        pytest.param([0, 0], [0, 0], id="nothing yet"),
    ],
)
def test_a_count_never_falls(raw: list[int], counted: list[int]) -> None:
    """Wraps and fresh beginnings add what was counted since, and nothing else."""
    growing = Growing()
    assert [growing.update(each) for each in raw] == counted


def test_a_rate_counts_for_the_time_since_the_last_look() -> None:
    """The first look begins at 0; a rate below 0 adds nothing."""
    total = Accumulated()
    assert [
        total.update(rate, us) for rate, us in ((9, 0), (10, 1_000_000), (-5, 2_000_000), (1, 4_000_000))
    ] == [
        0,
        10,
        10,
        12,
    ]
