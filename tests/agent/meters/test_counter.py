"""Energy counters and power integrals against known true trajectories."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.meters.counter import DEFAULT_LIMIT_MW, PATIENCE_US, EnergyCounter, PowerIntegral

S = 1_000_000
LIMIT_MW = 1_000_000
RANGE_UJ = 10**13

# (interval µs, power mW, what the reader sees at its end)
steps = st.lists(
    st.tuples(
        st.integers(1_000, 2 * S),
        st.integers(0, LIMIT_MW),
        st.sampled_from(["read", "read", "miss", "spike", "reset"]),
    ),
    max_size=30,
)


class Truth:
    """A domain of known energy, and the counter that shows it."""

    def __init__(self, start_uj: int) -> None:
        self.energy_uj = start_uj
        self.shown_from_uj = 0
        self.now_us = 0
        self._nj = 0

    def run(self, interval_us: int, power_mw: int) -> None:
        self._nj += interval_us * power_mw
        self.energy_uj += self._nj // 1000
        self._nj %= 1000
        self.now_us += interval_us

    def raw_uj(self) -> int:
        return (self.energy_uj - self.shown_from_uj) % RANGE_UJ

    def reset(self, raw_uj: int) -> None:
        self.shown_from_uj = self.energy_uj - raw_uj


@settings(deadline=None)
@given(steps=steps, start_uj=st.integers(0, RANGE_UJ - 1), spike_uj=st.integers(RANGE_UJ // 5, RANGE_UJ // 2))
def test_energy_is_exactly_the_truth_through_wraps_misses_and_spikes(
    steps: list[tuple[int, int, str]], start_uj: int, spike_uj: int
) -> None:
    """Wraps, missed readings and single absurd readings lose no µJ and leave no unread time."""
    truth = Truth(start_uj)
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    counter.update(truth.raw_uj(), 0)
    spiked = False
    for interval_us, power_mw, event in steps:
        truth.run(interval_us, power_mw)
        if event == "miss":
            counter.miss(truth.now_us)
        elif event == "spike" and not spiked:
            spiked = True
            counter.update((truth.raw_uj() + spike_uj) % RANGE_UJ, truth.now_us)
        else:
            spiked = False
            counter.update(truth.raw_uj(), truth.now_us)
            assert counter.energy_uj == truth.energy_uj
        assert counter.energy_uj <= truth.energy_uj
    truth.run(S, 0)
    counter.update(truth.raw_uj(), truth.now_us)
    assert counter.energy_uj == truth.energy_uj
    assert counter.offset_uj == 0
    assert counter.unread_us == 0


@settings(deadline=None)
@given(steps=steps)
def test_a_reset_loses_no_more_than_its_unread_time_holds(steps: list[tuple[int, int, str]]) -> None:
    """With resets, energy never falls, never passes the truth, and what is lost lies in unread time."""
    truth = Truth(RANGE_UJ // 2)
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    counter.update(truth.raw_uj(), 0)
    level_uj = RANGE_UJ // 2
    before = (counter.energy_uj, 0)
    for interval_us, power_mw, event in steps:
        truth.run(interval_us, power_mw)
        if event == "reset":
            level_uj -= RANGE_UJ // 64
            truth.reset(level_uj)
        if event == "miss":
            counter.miss(truth.now_us)
        else:
            counter.update(truth.raw_uj(), truth.now_us)
        now = (counter.energy_uj, counter.unread_us)
        assert now[0] >= before[0]
        assert now[1] >= before[1]
        assert now[0] <= truth.energy_uj
        before = now
    for _ in range(2):
        truth.run(S, 0)
        counter.update(truth.raw_uj(), truth.now_us)
    lost_uj = truth.energy_uj - counter.energy_uj
    assert 0 <= lost_uj * 1000 <= counter.unread_us * LIMIT_MW
    assert (counter.energy_uj - truth.raw_uj() - counter.offset_uj) % RANGE_UJ == 0


def test_begins_at_the_raw_reading() -> None:
    """The first raw reading is the start, so that a later session can be compared with it."""
    counter = EnergyCounter(1000, 0)
    counter.update(600, 5)
    assert (counter.energy_uj, counter.offset_uj, counter.unread_us) == (600, 0, 0)
    assert counter.limit_mw == DEFAULT_LIMIT_MW


def test_a_first_reading_after_misses_is_no_lump_of_energy() -> None:
    """A series that began without a reading stays at 0 when the counter first shows itself."""
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    counter.miss(0)
    counter.miss(S)
    counter.update(700, 2 * S)
    counter.update(900, 3 * S)
    assert (counter.energy_uj, counter.unread_us) == (200, 2 * S)
    assert (counter.energy_uj - 900 - counter.offset_uj) % RANGE_UJ == 0


def test_close_readings_may_hold_a_whole_step_of_the_meter() -> None:
    """Two readings 1 µs apart with a step of 1 ms of energy between them are believed."""
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    counter.update(0, 0)
    counter.update(1000, 1)
    assert (counter.energy_uj, counter.dropped) == (1000, 0)


def test_a_glitch_to_zero_costs_nothing() -> None:
    """A single reading of 0 amid good ones is dropped and counted, and nothing is lost."""
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    for second, raw_uj in enumerate([5 * 10**12, 0, 5 * 10**12 + 200, 5 * 10**12 + 300]):
        counter.update(raw_uj, second * S)
    assert (counter.energy_uj, counter.unread_us, counter.dropped) == (5 * 10**12 + 300, 0, 1)
    assert "cannot follow" in counter.reason


def test_a_reset_is_unread_up_to_the_first_reading_after_it() -> None:
    """After a reset the counter is followed from its first new reading on."""
    counter = EnergyCounter(RANGE_UJ, LIMIT_MW)
    for second, raw_uj in enumerate([5 * 10**12, 5 * 10**12 + 100, 10, 30, 60]):
        counter.update(raw_uj, second * S)
    assert (counter.energy_uj, counter.unread_us, counter.dropped) == (5 * 10**12 + 150, S, 1)
    assert counter.offset_uj == 5 * 10**12 + 90


def test_a_gap_that_can_hide_a_wrap_is_given_up() -> None:
    """Where a whole wrap may have passed unseen, no energy is guessed: the gap is unread."""
    counter = EnergyCounter(10**9, LIMIT_MW)
    counter.update(100, 0)
    counter.miss(S // 2)
    assert counter.unread_us == 0
    counter.update(200, 2 * S)
    counter.update(300, 2 * S + 1000)
    assert (counter.energy_uj, counter.unread_us) == (200, 2 * S)


def test_a_meter_that_stays_away_is_unread_after_a_while() -> None:
    """Unread time grows while a meter stays away, stays when it returns, and its energy still counts."""
    counter = EnergyCounter(0, LIMIT_MW)
    counter.update(0, 0)
    counter.miss(PATIENCE_US)
    assert counter.unread_us == 0
    counter.miss(PATIENCE_US + S)
    counter.miss(PATIENCE_US + 2 * S)
    assert counter.unread_us == PATIENCE_US + 2 * S
    counter.update(5000, PATIENCE_US + 3 * S)
    assert (counter.energy_uj, counter.unread_us) == (5000, PATIENCE_US + 2 * S)


@pytest.mark.parametrize("raw_uj", [-1, 1001, 2**64 - 1])
def test_a_reading_outside_the_range_is_dropped(raw_uj: int) -> None:
    """Sentinels outside the counter's range are dropped wherever they come."""
    counter = EnergyCounter(1000, 1)
    counter.update(raw_uj, 0)
    counter.update(10, 1000)
    counter.update(raw_uj, 2000)
    counter.update(10, 3000)
    assert (counter.energy_uj, counter.dropped, counter.unread_us) == (0, 2, 1000)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3 * S), st.one_of(st.none(), st.integers(-5, LIMIT_MW + 5))),
        min_size=1,
        max_size=40,
    )
)
def test_power_is_integrated_exactly(readings: list[tuple[int, int | None]]) -> None:
    """The integral is the floor of the exact trapezoid sum, and every other interval is unread."""
    integral = PowerIntegral(LIMIT_MW)
    exact_uj, unread_us, now_us, before = Fraction(0), 0, 0, None
    is_first = True
    for interval_us, power_mw in readings:
        now_us += interval_us
        good = power_mw if power_mw is not None and 0 <= power_mw <= LIMIT_MW else None
        if not is_first:
            if good is None or before is None:
                unread_us += interval_us
            else:
                exact_uj += Fraction((before + good) * interval_us, 2000)
        if power_mw is None:
            integral.miss(now_us)
        else:
            integral.update(power_mw, now_us)
        before, is_first = good, False
        assert (integral.energy_uj, integral.unread_us) == (int(exact_uj), unread_us)
    assert integral.offset_uj == 0


def test_an_absurd_power_is_counted_and_named() -> None:
    """A dropped power reading says what it was and what was expected."""
    integral = PowerIntegral(1000)
    integral.update(2000, 0)
    assert (integral.dropped, integral.missing) == (1, True)
    assert "2000 mW" in integral.reason
