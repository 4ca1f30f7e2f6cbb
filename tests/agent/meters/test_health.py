"""What is said of a domain's meter, and when."""

from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.health import JUMPS_US, STUCK_US, WHOLLY_OFF_PPM, Health
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding


def test_a_stuck_counter_is_suspect_until_it_moves() -> None:
    """A counter that stands still is suspected once, its time is unread, and it is cleared once it moves."""
    counter = EnergyCounter(0, 0)
    health = Health("rapl:cpu.0", "cpu.0", counter)
    counter.update(5, 0)
    assert health.finding() == ()
    counter.update(5, STUCK_US)
    (stuck,) = health.finding()
    assert stuck.state == SUSPECT
    assert stuck.reason.startswith("stuck")
    assert health.finding() == ()
    # What was drawn since it moved last is in no account: that is told as time without a reading, once.
    assert counter.unread_us == STUCK_US
    counter.update(5, STUCK_US + 700)
    assert health.finding() == ()
    assert counter.unread_us == STUCK_US + 700
    counter.update(6, STUCK_US + 1000)
    assert [finding.state for finding in health.finding()] == [WORKING]
    assert (counter.energy_uj, counter.unread_us) == (6, STUCK_US + 700)


def test_a_part_that_may_rest_is_not_stuck() -> None:
    """An uncore without a GPU may show the same energy for ever."""
    counter = EnergyCounter(0, 0)
    health = Health("rapl:uncore.0", "uncore.0", counter)
    counter.update(5, 0)
    counter.update(5, 10 * STUCK_US)
    assert health.finding() == ()


def test_a_missing_meter_is_unreadable_and_says_why() -> None:
    """A meter that fails is named with its error, and its return is told."""
    counter = EnergyCounter(0, 0)
    health = Health("rapl:cpu.0", "cpu.0", counter)
    counter.update(5, 0)
    counter.miss(1000)
    health.error = "[Errno 19] No such device"
    (lost,) = health.finding()
    assert (lost.state, lost.reason) == (UNREADABLE, "[Errno 19] No such device")
    counter.update(6, 2000)
    assert [finding.state for finding in health.finding()] == [WORKING]


def test_a_glitch_is_told_and_means_no_more() -> None:
    """One impossible reading is dropped and told of for a tick; the meter is no less exact for it."""
    counter = EnergyCounter()
    health = Health("rapl:cpu.0", "cpu.0", counter)
    said: list[Finding] = []
    for second, raw_uj in enumerate([5, 6, 10**15, 8, 9]):
        counter.update(raw_uj, second * 1_000_000)
        said += health.finding()
    assert [(finding.state, finding.off_ppm) for finding in said] == [(SUSPECT, 0), (WORKING, 0)]
    assert said[0].reason.startswith("dropped: reading 1000000000000000 µJ cannot follow 6 µJ")
    assert counter.energy_uj == 9


def test_a_counter_that_jumps_again_and_again_is_wholly_off_until_it_stops() -> None:
    """Impossible readings that go on are one suspicion, told once; it lasts a while longer than they do."""
    counter = EnergyCounter()
    health = Health("rapl:cpu.0", "cpu.0", counter)
    told: list[tuple[int, Finding]] = []
    for second in range(300):
        jumps = 100 <= second < 200 and second % 2
        counter.update(second + (10**15 if jumps else 0), second * 1_000_000)
        told += ((second, finding) for finding in health.finding())
    glitches = [(second, SUSPECT if second % 2 else WORKING) for second in range(101, 109)]
    stopped = 199 + JUMPS_US // 1_000_000
    assert [(second, f.state) for second, f in told] == [*glitches, (109, SUSPECT), (stopped, WORKING)]
    found = told[8][1]
    assert found.off_ppm == WHOLLY_OFF_PPM
    assert found.reason.startswith("jumps: 5 impossible readings within 60 s, reading")


def test_a_gauge_that_shows_only_nonsense_is_wholly_off() -> None:
    """A gauge whose every reading is impossible gives nothing, whatever it answers."""
    gauge = PowerIntegral(limit_mw=1000)
    health = Health("hwmon:node", "node", gauge)
    said: list[Finding] = []
    for second in range(100):
        gauge.update(65_535_000, second * 1_000_000)
        said += health.finding()
    assert [(finding.state, finding.off_ppm) for finding in said] == [(SUSPECT, 0), (SUSPECT, WHOLLY_OFF_PPM)]
