"""How fine a store still knows its books."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BooksKept:
    """How fine the books are known of which time. Both moments are whole hours of the wall clock.

    rows_us: from then on, interval by interval. minutes_us: from then on, all nodes' by minute, and what each
    node's accounts received over time by 10 minutes. What is before both is known by hour.
    """

    rows_us: int = 0
    minutes_us: int = 0
