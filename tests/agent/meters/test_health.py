"""What is said of a domain's meter, and when."""

from joulebook.agent.meters.counter import EnergyCounter
from joulebook.agent.meters.health import STUCK_US, Health
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING


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
