"""A sensor that looks at a quarter of the time: what that means for the energy, on a wave that is known."""

import pytest

from tests.bench.part_time import errors_percent


@pytest.mark.parametrize(
    ("period_ms", "least", "most"),
    [
        pytest.param(100, 70, 80, id="in step with it: it sees nothing but the upper half"),
        pytest.param(20, 0, 16, id="much faster than it looks"),
        pytest.param(10_000, 0, 5, id="much slower"),
    ],
)
def test_only_loads_in_step_with_the_sensor_are_far_off(period_ms: int, least: float, most: float) -> None:
    """The meter adds no error of its own to the counter's, and cannot mend what the sensor never saw."""
    ours, _ = errors_percent(period_ms * 1000)
    assert least <= ours <= most
