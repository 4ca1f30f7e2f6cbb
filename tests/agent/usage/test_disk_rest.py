"""A disk rests while what was told of it holds."""

from joulebook.agent.usage.disk_rest import DiskRest


def test_a_disk_rests_until_it_moves_wakes_or_nobody_knows() -> None:
    """Told so, it rests; data that it moves, another answer, or too long without one end that."""
    rest = DiskRest(valid_us=180)
    still = (10, 20, 1, 2)
    assert not rest.rests("sda", moved=still, now_us=100)
    rest.told("sda", is_resting=True, moved=still, now_us=100)
    assert rest.rests("sda", moved=still, now_us=100)
    assert rest.rests("sda", moved=still, now_us=280)
    assert not rest.rests("sda", moved=still, now_us=281)
    assert not rest.rests("sda", moved=(11, 20, 1, 2), now_us=150)
    assert not rest.rests("sdb", moved=still, now_us=150)
    rest.told("sda", is_resting=False, moved=still, now_us=160)
    assert not rest.rests("sda", moved=still, now_us=161)
