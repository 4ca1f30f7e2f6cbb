"""The idle floor is what a machine draws when nothing runs, and no glitch makes it lower."""

from joulebook.agent.floor import IdleFloor

SECOND_US = 1_000_000


def _feed(floor: IdleFloor, now_us: int, energy_uj: int, power_mw: int, seconds: int) -> tuple[int, int]:
    for _ in range(seconds):
        now_us += SECOND_US
        energy_uj += power_mw * 1000
        floor.update(now_us, energy_uj)
    return now_us, energy_uj


def test_the_floor_is_found_below_bursts() -> None:
    """After idle stretches among bursts, the floor is the idle power."""
    floor = IdleFloor()
    at = (0, 0)
    floor.update(*at)
    for _ in range(10):
        at = _feed(floor, *at, power_mw=90_000, seconds=30)
        at = _feed(floor, *at, power_mw=20_000, seconds=30)
    assert floor.power_mw == 20_000


def test_two_misread_blocks_do_not_pull_it_down() -> None:
    """Two blocks that a hung counter left short of energy leave the floor where it was."""
    floor = IdleFloor()
    at = _feed(floor, 0, 0, power_mw=20_000, seconds=600)
    at = _feed(floor, *at, power_mw=0, seconds=10)
    _feed(floor, *at, power_mw=20_000, seconds=60)
    assert floor.power_mw == 20_000


def test_a_busy_day_lifts_it() -> None:
    """What was idle power more than a day ago is forgotten."""
    floor = IdleFloor()
    at = _feed(floor, 0, 0, power_mw=20_000, seconds=3600)
    _feed(floor, *at, power_mw=50_000, seconds=26 * 3600)
    assert floor.power_mw == 50_000


def test_before_a_block_is_full_the_lowest_tick_stands_in() -> None:
    """The first seconds are booked against the least that was seen, not against nothing."""
    floor = IdleFloor()
    floor.update(0, 0)
    floor.update(SECOND_US, 30_000_000)
    assert floor.update(2 * SECOND_US, 50_000_000) == 20_000
