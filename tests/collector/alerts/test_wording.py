"""An alert is one sentence, and its figures have units."""

from dataclasses import replace

import pytest

from joulebook.collector.alerts import wording
from tests.simulated.alerts import RULES, firing, pending, resolved


@pytest.mark.parametrize(
    ("length_us", "expected"),
    [
        (0, "0 ms"),
        (-5, "0 ms"),
        (17_000, "17 ms"),
        (59_999_999, "59 s"),
        (60_000_000, "1 min"),
        (3_661_000_000, "1 h 1 min"),
        (3_601_000_000, "1 h"),
        (200_000_000_000, "2 d 7 h"),
    ],
)
def test_span(length_us: int, expected: str) -> None:
    """A length of time has two units at most, and nothing is rounded up."""
    assert wording.span(length_us) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"node": "n1"}, "n1"),
        ({"node": "n1", "gpu": "gpu.0"}, "gpu.0 on n1"),
        ({"node": "n1", "job": "slurm.42"}, "slurm.42 on n1"),
        (
            {"node": "n1", "gpu": "gpu.0", "job": "slurm.42", "user": "ada"},
            "gpu.0 on n1, held by slurm.42 (ada)",
        ),
        ({"job": "slurm.42"}, "slurm.42"),
        ({}, ""),
    ],
)  # fmt: skip
def test_where(labels: dict[str, str], expected: str) -> None:
    """A subject is named from the nearest outwards."""
    assert wording.where(labels) == expected


def test_summary() -> None:
    """The sentence says what, where, how long, at what cost, and how it ended."""
    alert = firing({"node": "n1"}, minutes=20)
    told = "GPU held but idle: n1, for 20 min, 73.20 kJ wasted"
    assert wording.summary(alert, RULES[0]) == f"{told}."
    assert wording.summary(resolved(alert), RULES[0]) == f"{told}; resolved, the job ended."
    assert wording.summary(resolved(alert, why=""), RULES[0]) == f"{told}; resolved."


def test_summary_of_little_known() -> None:
    """A rule that is no longer in force has its name, and waste that nobody knows is not told."""
    alert = replace(pending({}, "books_lost", minutes=1), wasted_uj=None)
    assert wording.summary(alert, None) == "Books lost: everywhere, for 1 min."


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("power_mw", 61_000, ("power", "61.00 W")),
        ("residual_uj", -3, ("residual", "-3 µJ")),
        ("held_us", 900_000_000, ("held", "15 min")),
        ("gpu_utilisation_ppm", 15_000, ("gpu utilisation", "1.5 %")),
        ("cpus", 16, ("cpus", "16")),
        ("meter_mw", "nvml", ("meter mw", "nvml")),
    ],
)
def test_figure(name: str, value: float | str, expected: tuple[str, str]) -> None:
    """A figure is written in the unit that its name ends in; what has none stays as it is."""
    assert wording.figure(name, value) == expected
