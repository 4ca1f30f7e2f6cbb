"""What a check of a store found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be: what, of which node, when, and what was found and expected."""

    check: str
    node: str
    at: str
    found: str
    expected: str

    def row(self) -> dict[str, str]:
        """Return it by column."""
        return asdict(self)


def day(unix_us: int) -> str:
    """Return the day of a wall clock time, in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us)).strftime("%Y-%m-%d")


def days(from_us: int, to_us: int, slice_us: int) -> Iterator[tuple[int, int]]:
    """Cut (from_us, to_us] into slices that lie in one day each."""
    begin = from_us
    while begin < to_us:
        # A Report that ends at midnight belongs to the day that it ends.
        midnight = (begin // DAY_US + 1) * DAY_US
        end = min(begin + slice_us, midnight, to_us)
        yield begin, end
        begin = end
