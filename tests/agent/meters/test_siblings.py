"""Meters that measure the same, or one within the other, are held against each other."""

import pytest

from joulebook.agent.meters.siblings import Course, compare
from joulebook.agent.source import Domain
from joulebook.v1 import report_pb2

COUNTER = report_pb2.SOURCE_KIND_COUNTER


def course(meter: str, name: str, *power_w: float, booked: bool = True, accuracy_ppm: int = 30_000) -> Course:
    domain = Domain(name, meter, COUNTER, 1, 1000, accuracy_ppm)
    return Course(meter, domain, tuple(round(w * 1000) for w in power_w), booked)


@pytest.mark.parametrize(
    ("courses", "found"),
    [
        # Two of the same: within both accuracies, beyond them, and with nothing of one.
        ([course("rapl", "cpu.0", 100), course("hwmon", "cpu.0", 106, booked=False)], {}),
        (
            [course("rapl", "cpu.0", 100), course("hwmon", "cpu.0", 150, booked=False)],
            {
                0: (500_000, "shows 100 W where hwmon shows 150 W"),
                1: (500_000, "shows 150 W where rapl shows 100 W"),
            },
        ),
        ([course("rapl", "cpu.0", -0.001), course("hwmon", "cpu.0", 150, booked=False)], {}),
        ([course("rapl", "cpu.0", 0.5), course("hwmon", "cpu.0", 1.5, booked=False)], {}),
        # A node below its parts, and one above them.
        (
            [course("bmc", "node", 200), course("rapl", "cpu.0", 150), course("nvml", "gpu.0", 250)],
            {0: (1_000_000, "shows 200 W where its parts add up to 400 W")},
        ),
        ([course("bmc", "node", 395), course("rapl", "cpu.0", 150), course("nvml", "gpu.0", 250)], {}),
        ([course("bmc", "node", 900), course("rapl", "cpu.0", 150), course("nvml", "gpu.0", 250)], {}),
        # What is within a part is not added beside it.
        (
            [course("bmc", "node", 210), course("rapl", "psys", 200), course("rapl", "cpu.0", 150)],
            {},
        ),
        # One that is not booked is no part.
        ([course("bmc", "node", 210), course("x", "cpu.0", 250, booked=False)], {}),
        # A node that stands still while a part moves by more than its steps; one that moves; a short look.
        (
            [course("bmc", "node", 500, 500, 500, 500, 500), course("rapl", "cpu.0", 60, 60, 180, 60, 60)],
            {0: (240_000, "stuck at 500 W while cpu.0 moved by 120 W")},
        ),
        ([course("bmc", "node", 500, 500, 620, 500, 500), course("rapl", "cpu.0", 60, 60, 180, 60, 60)], {}),
        ([course("bmc", "node", 500, 500, 500, 500), course("rapl", "cpu.0", 60, 180, 60, 60)], {}),
        # A socket at rest beside a busy one is at rest.
        ([course("rapl", "cpu.0", 40, 40, 40, 40, 40), course("rapl", "cpu.1", 60, 60, 180, 60, 60)], {}),
    ],
)
def test_compare(courses: list[Course], found: dict[int, tuple[int, str]]) -> None:
    """Each case: who is off, by how much, and the words."""
    assert {p: (s.off_ppm, s.reason) for p, s in compare(courses).items()} == found
