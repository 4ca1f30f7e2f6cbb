"""A level held between slow answers gives every tick its energy, and in the end what the trapezoid says."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.held import HeldPower

S = 1_000_000
HOLD_US = 3 * S

ANSWERS = st.lists(st.tuples(st.integers(1, 8 * S), st.integers(0, 500_000)), min_size=1, max_size=10)


@given(ANSWERS, st.integers(200_000, 2 * S), st.integers(0, 2 * S))
def test_against_known_truth(steps: list[tuple[int, int]], tick_us: int, late_us: int) -> None:
    """Whatever answers come, early or late: nothing falls, and in the end the sum is the truth to the µJ.

    The truth is the trapezoid between answers at most HOLD_US apart, and elsewhere the level held so long.
    """
    answers = [(0, 0)]
    for step_us, power_mw in [*steps, (2 * S, 1_000_000), (2 * S, 1_000_000), (2 * S, 1_000_000)]:
        answers.append((answers[-1][0] + step_us, power_mw))
    del answers[0]
    held = HeldPower(HOLD_US, 1_000_000)
    held.advance(0)
    shown, seen = [(0, 0)], 0
    for now_us in range(tick_us, answers[-1][0] + tick_us + late_us + 1, tick_us):
        while seen < len(answers) and answers[seen][0] <= now_us - late_us:
            taken_us, power_mw = answers[seen]
            held.take(power_mw, taken_us)
            seen += 1
        held.advance(now_us)
        shown.append((held.energy_uj, held.unread_us))
        assert held.ahead_uj <= 1_000_000 * HOLD_US // 1000
    assert seen == len(answers)
    assert all(e0 <= e1 and u0 <= u1 for (e0, u0), (e1, u1) in pairwise(shown))

    measured, unread_us = 0, answers[0][0]
    for (t0, p0), (t1, p1) in pairwise(answers):
        measured += (p0 + p1) * (t1 - t0) if t1 - t0 <= HOLD_US else 2 * p0 * HOLD_US
        unread_us += max(0, t1 - t0 - HOLD_US)
    level_us = min(HOLD_US, max(0, held.now_us - answers[-1][0]))
    assert held.energy_uj == (measured + 2 * 1_000_000 * level_us) // 2000
    # What an answer that came late disproved stays unread: that is never more than how late it came.
    beyond_us = held.now_us - answers[-1][0] - level_us
    assert unread_us + beyond_us <= held.unread_us <= unread_us + beyond_us + late_us + tick_us


def test_a_level_held_too_high_is_paid_back() -> None:
    """After a fall from 100 W to 20 W the sum stands still until the trapezoid has caught up, to the µJ."""
    held = HeldPower(HOLD_US)
    held.advance(0)
    held.take(100_000, 0)
    held.advance(S)
    held.advance(2 * S)
    assert held.energy_uj == 200_000_000
    held.take(20_000, 2 * S)
    held.advance(2 * S)
    assert (held.energy_uj, held.ahead_uj) == (200_000_000, 80_000_000)
    held.take(20_000, 4 * S)
    held.advance(4 * S)
    assert (held.energy_uj, held.ahead_uj) == (200_000_000, 40_000_000)
    for second in (6, 8):
        held.take(20_000, second * S)
        held.advance(second * S)
    assert (held.energy_uj, held.ahead_uj, held.unread_us) == (240_000_000, 0, 0)


def test_silence_is_unread_and_never_filled_in() -> None:
    """Past the time it may hold a level adds nothing; when answers come back only the held part counts."""
    held = HeldPower(HOLD_US)
    held.advance(0)
    held.take(100_000, 0)
    held.advance(10 * S)
    assert (held.energy_uj, held.unread_us, held.missing) == (300_000_000, 7 * S, True)
    held.take(900_000, 20 * S)
    held.advance(20 * S)
    assert (held.energy_uj, held.unread_us, held.missing) == (300_000_000, 17 * S, False)
    held.advance(21 * S)
    assert held.energy_uj == 1_200_000_000


def test_lies_are_dropped() -> None:
    """Below 0 and above the limit is dropped with its reason; the level before goes on."""
    held = HeldPower(HOLD_US, 400_000)
    held.advance(0)
    held.take(100_000, 0)
    held.take(-1, S // 2)
    held.take(65_535_000, S)
    held.advance(S)
    assert (held.energy_uj, held.dropped) == (100_000_000, 2)
    assert "65535000 mW" in held.reason
