"""What a collector is told is checked before it begins."""

import pytest

from joulebook.collector.config import CollectorConfig


@pytest.mark.parametrize("kept", ["raw", "ledger", "minutes", "hours"])
def test_how_long_things_are_kept(kept: str) -> None:
    """From a day on, or for ever: less is refused by name and value, since late Reports are settled by then."""
    name = f"retention_{kept}_days"
    for days in (0, 1, 14.5, 36_500):
        assert CollectorConfig(**{name: days}).errors() == []
    for days in (-1, 0.5, 36_501, float("nan")):
        wrong = f"collector.{name} = {days}: expected 1 to 36500, or 0 for ever"
        assert CollectorConfig(**{name: days}).errors() == [wrong]
