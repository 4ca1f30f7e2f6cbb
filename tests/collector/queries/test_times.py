"""Times are taken as people write them, and refused with what was expected."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.queries.errors import BadValueError
from joulebook.collector.queries.times import MAX_UNIX_US, parse_range, parse_step, parse_time, rfc3339

NOW_US = 1_790_000_000_123_456


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("now", NOW_US),
        ("-1h", NOW_US - 3_600_000_000),
        ("-30m", NOW_US - 1_800_000_000),
        ("-2d", NOW_US - 172_800_000_000),
        ("-0s", NOW_US),
        ("1790000000", 1_790_000_000_000_000),
        ("1790000000.25", 1_790_000_000_250_000),
        ("2026-09-21T14:13:20Z", 1_790_000_000_000_000),
        ("2026-09-21t14:13:20.123456z", 1_790_000_000_123_456),
        ("2026-09-21T16:13:20+02:00", 1_790_000_000_000_000),
        ("2026-09-21T16:13:20 02:00", 1_790_000_000_000_000),
    ],
)
def test_time(text: str, expected_us: int) -> None:
    """A time in any of its forms."""
    assert parse_time("from", text, NOW_US) == expected_us


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-1", "1h", "-1y", "2026-09-21", "2026-09-21T14:13:20", "2026-13-01T00:00:00Z", "\0",
     "9999999999", "-999999999w", "1e9", "9" * 5000, "-1h\n", "１７９０００００００"],
)  # fmt: skip
def test_bad_time(text: str) -> None:
    """What is not a time is refused, naming the field and the forms."""
    with pytest.raises(BadValueError, match=r"from .*expected a time from 1970 to 2112: RFC 3339"):
        parse_time("from", text, NOW_US)


def test_range_must_run_forwards() -> None:
    """A range that ends before it begins is refused."""
    with pytest.raises(BadValueError, match="from 'now': expected a time before to"):
        parse_range("now", "-1h", NOW_US)


@pytest.mark.parametrize(
    ("text", "expected_us"), [("10", 10_000_000), ("10s", 10_000_000), ("5m", 300_000_000), ("1ms", 1000)]
)
def test_step(text: str, expected_us: int) -> None:
    """A length of time; a bare number is seconds."""
    assert parse_step(text) == expected_us


@pytest.mark.parametrize("text", ["", "0", "-1s", "1y", "999us", "1.5s", "999999999w"])
def test_bad_step(text: str) -> None:
    """What is not a length of time, or too short or long a one, is refused."""
    with pytest.raises(BadValueError, match="step"):
        parse_step(text)


@given(st.integers(0, MAX_UNIX_US))
def test_written_times_are_read_again(unix_us: int) -> None:
    """A time as it is given back is a time that is taken, to the µs."""
    assert parse_time("to", rfc3339(unix_us), 0) == unix_us
    assert datetime.fromisoformat(rfc3339(unix_us)).tzinfo == UTC
