"""A slow energy counter, tick by tick."""

from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.held_counter import HeldCounter

S = 1_000_000
J = 1_000_000
W = 1000


def test_ticks_between_answers_have_their_share() -> None:
    """The power shown beside the counter fills the ticks until the counter says what it was."""
    held = HeldCounter(30 * S)
    held.take(5_000 * J, 300 * W, 0)
    shown = []
    for second in range(1, 11):
        held.advance(second * S)
        shown.append(held.energy_uj)
    assert shown == [300 * J * second for second in range(1, 11)]
    # It was a little more.
    held.take(8_100 * J, 310 * W, 10 * S)
    held.advance(11 * S)
    assert held.energy_uj == (3_100 + 310) * J
    assert (held.missing, held.unread_us, held.dropped) == (False, 0, 0)


def test_what_was_held_too_high_is_waited_for() -> None:
    """Energy never falls, and is the counter's again once that has caught up."""
    held = HeldCounter(30 * S)
    held.take(0, 300 * W, 0)
    held.advance(10 * S)
    held.take(1_000 * J, 100 * W, 10 * S)
    held.advance(11 * S)
    assert held.energy_uj == 3_000 * J
    held.take(3_500 * J, 100 * W, 35 * S)
    held.advance(35 * S)
    assert held.energy_uj == 3_500 * J


def test_a_counter_that_is_silent_misses_and_catches_up() -> None:
    """Beyond the hold nothing is made up; what the counter counted meanwhile is not lost."""
    held = HeldCounter(30 * S)
    held.take(0, 300 * W, 0)
    held.advance(30 * S)
    assert not held.missing
    held.advance(50 * S)
    assert (held.missing, held.energy_uj, held.unread_us) == (True, 9_000 * J, 0)
    held.take(15_000 * J, 300 * W, 50 * S)
    held.advance(50 * S)
    assert (held.missing, held.energy_uj, held.unread_us) == (False, 15_000 * J, 0)
    held.advance(50 * S + 100 * S)
    assert held.missing
    # After a minute the time counts as unread, though the energy may still come.
    assert held.unread_us == 100 * S


def test_a_reset_and_a_leap_are_no_energy() -> None:
    """A counter that begins again, or jumps by more than a node can draw, gives nothing for it."""
    held = HeldCounter(30 * S)
    held.take(50_000 * J, 300 * W, 0)
    held.take(100 * J, 300 * W, 10 * S)
    held.advance(10 * S)
    assert (held.energy_uj, held.dropped) == (3_000 * J, 1)
    held.take(3_100 * J, 300 * W, 20 * S)
    held.advance(20 * S)
    # Known are the second ten seconds; what was held in the first stands for them.
    assert (held.energy_uj, held.unread_us) == (3_000 * J, 10 * S)
    held.take(10**15, 300 * W, 30 * S)
    held.advance(30 * S)
    assert (held.energy_uj, held.dropped) == (6_000 * J, 2)


def test_a_counter_that_goes_apart_from_the_power_is_suspect() -> None:
    """One that stands still while the power is shown is told after a minute, with how far it is off."""
    held = HeldCounter(30 * S)
    for second in range(0, 80, 10):
        held.take(777 * J, 300 * W, second * S)
    assert "the counter shows 0 J, the power 18000 J" in held.suspicion
    assert held.off_ppm == 1_000_000


_ANSWERS = st.lists(
    st.tuples(st.integers(-(10**9), 10**16), st.integers(0, 60_000_000), st.integers(1, 100 * S)), max_size=30
)


@given(_ANSWERS)
def test_energy_never_falls_nor_leaps(answers: list[tuple[int, int, int]]) -> None:
    """Whatever a counter shows, energy grows by no more than the node can draw, and time unread is time."""
    held = HeldCounter(30 * S, 60_000_000)
    now_us, before_uj = 0, 0
    held.advance(now_us)
    for energy_uj, power_mw, elapsed_us in answers:
        now_us += elapsed_us
        held.take(energy_uj, power_mw, now_us)
        held.advance(now_us)
        assert held.energy_uj >= before_uj
        before_uj = held.energy_uj
        assert held.energy_uj * 1000 <= 60_000_000 * (now_us + 100_000 * (len(answers) + 1))
        assert 0 <= held.unread_us <= now_us
