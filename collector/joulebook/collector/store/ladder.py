"""A range of time cut into pieces that whole buckets fill, the widest first, and ragged ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """From from_us to to_us, both multiples of width_us; a width of 0: no bucket fits."""

    width_us: int
    from_us: int
    to_us: int


def pieces(from_us: int, to_us: int, widths_us: Sequence[int]) -> list[Piece]:
    """Cut a range by buckets of these widths, widest first; each must be a multiple of the next.

    The pieces fill the range, do not overlap and are not empty.
    """
    if from_us >= to_us:
        return []
    if not widths_us:
        return [Piece(0, from_us, to_us)]
    width_us, *narrower = widths_us
    first_us, last_us = -(-from_us // width_us) * width_us, to_us // width_us * width_us
    if first_us >= last_us:
        return pieces(from_us, to_us, narrower)
    return [
        Piece(width_us, first_us, last_us),
        *pieces(from_us, first_us, narrower),
        *pieces(last_us, to_us, narrower),
    ]
