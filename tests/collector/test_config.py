"""What a collector is told is checked before it begins."""

import msgspec
import pytest

from joulebook.collector.config import CollectorConfig


@pytest.mark.parametrize("kept", ["raw", "ledger", "minutes", "hours"])
def test_how_long_things_are_kept(kept: str) -> None:
    """From a day on, or for ever; anything else is refused by name and value."""
    name = f"retention_{kept}_days"
    for days in (0.0, 1.0, 14.5, 36_500.0):
        assert msgspec.convert({name: days}, CollectorConfig).errors() == []
    for days in (-1.0, 0.5, 36_501.0, float("nan")):
        wrong = f"collector.{name} = {days}: expected 1 to 36500, or 0 for ever"
        assert msgspec.convert({name: days}, CollectorConfig).errors() == [wrong]
