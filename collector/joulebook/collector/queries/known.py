"""What of a range the books still tell exactly."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.store.kept import BooksKept

MINUTE_US, TEN_MINUTES_US, HOUR_US = 60_000_000, 600_000_000, 3_600_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the wall clock."""

    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Known:
    """What of (from_us, to_us] is known, where they are equal nothing; and what is left out at its ends."""

    from_us: int
    to_us: int
    forgotten: list[Stretch]


def known_part(kept: BooksKept, from_us: int, to_us: int, fine_us: int) -> Known:
    """Leave out what rows alone would tell where they are forgotten: parts of hours, or of what is finer.

    fine_us: by what the books are known where their minutes are kept and their rows are not.
    """
    first_us = from_us + -from_us % unit_us(kept, from_us, fine_us)
    last_us = to_us - to_us % unit_us(kept, to_us, fine_us)
    if first_us >= last_us:
        return Known(from_us, from_us, [Stretch(from_us, to_us)])
    ends = Stretch(from_us, first_us), Stretch(last_us, to_us)
    return Known(first_us, last_us, [one for one in ends if one.from_us < one.to_us])


def unit_us(kept: BooksKept, at_us: int, fine_us: int) -> int:
    """Return by what the books are known at a time."""
    if at_us >= kept.rows_us:
        return 1
    return fine_us if at_us >= kept.minutes_us else HOUR_US
