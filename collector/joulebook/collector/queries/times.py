"""Times as people give them, and as they are given back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from joulebook.collector.queries.errors import BadValueError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_US = {
    "us": 1,
    "ms": 1000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
# The year 2112; what the clock of a Report may show at most.
MAX_UNIX_US = 1 << 52

RELATIVE = r"-[0-9]{1,9}[smhdw]"
UNIX = r"[0-9]{1,10}(\.[0-9]{1,6})?"
# A URL's + is a space once it is decoded: an offset that lost it so is taken too.
RFC3339 = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[-+ ][0-9]{2}:[0-9]{2})"
)
TIME_PATTERN = f"^(now|{RELATIVE}|{UNIX}|{RFC3339})$"
STEP_PATTERN = r"^[0-9]{1,9}(us|ms|s|m|h|d|w)?$"

_EXPECTED_TIME = "a time from 1970 to 2112: RFC 3339, unix seconds, now, or relative like -1h, -30m, -2d"
_EXPECTED_STEP = "a length like 10s, 5m or 1h, of 1 ms at least"


def parse_time(field: str, text: str, now_us: int) -> int:
    """Return a time in µs of the wall clock."""
    time_us = _time_us(text, now_us)
    if time_us is None or not 0 <= time_us <= MAX_UNIX_US:
        raise BadValueError(field, text, _EXPECTED_TIME)
    return time_us


def _time_us(text: str, now_us: int) -> int | None:
    if text == "now":
        return now_us
    if re.fullmatch(RELATIVE, text):
        return now_us - int(text[1:-1]) * _UNIT_US[text[-1]]
    if re.fullmatch(UNIX, text):
        return int(Decimal(text) * 1_000_000)
    if re.fullmatch(RFC3339, text):
        if text[-6] == " ":
            text = f"{text[:-6]}+{text[-5:]}"
        try:
            return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(microseconds=1)
        except (ValueError, OverflowError):
            return None
    return None


def parse_range(from_: str, to: str, now_us: int) -> tuple[int, int]:
    """Return the two ends of a range; the first must lie before the second."""
    from_us, to_us = parse_time("from", from_, now_us), parse_time("to", to, now_us)
    if from_us >= to_us:
        raise BadValueError("from", from_, f"a time before to, which is {rfc3339(to_us)}")
    return from_us, to_us


def parse_step(text: str) -> int:
    """Return a length of time in µs; a bare number is seconds."""
    if re.fullmatch(STEP_PATTERN, text):
        digits = re.match("[0-9]+", text)
        assert digits is not None
        step_us = int(digits[0]) * _UNIT_US[text[digits.end() :] or "s"]
        if 1000 <= step_us <= MAX_UNIX_US:
            return step_us
    raise BadValueError("step", text, _EXPECTED_STEP)


def rfc3339(unix_us: int) -> str:
    """Return a wall clock time as RFC 3339 in UTC, to the microsecond where there is one."""
    return (_EPOCH + timedelta(microseconds=unix_us)).isoformat().replace("+00:00", "Z")
