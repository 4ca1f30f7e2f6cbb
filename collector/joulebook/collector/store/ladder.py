"""A range of time cut into pieces that whole buckets fill, the widest first, and ragged ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from joulebook.collector.store.protocol import StoreError


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


def kept(cut: Iterable[Piece], since_us: Mapping[int, int], rows_us: int) -> Iterator[Piece]:
    """Give pieces as they are, but those that no bucket fits for what buckets are forgotten of.

    since_us: from when on buckets of a width are kept, where not all are; rows_us: from when on rows are.
    Raises StoreError where there is neither.
    """
    for piece in _narrowed(cut, since_us):
        if rows_us and not piece.width_us and piece.from_us < rows_us:
            raise StoreError(
                f"store: rows of the ledger that ended up to {rows_us} are forgotten, and no buckets fill "
                f"({piece.from_us}, {piece.to_us}]"
            )
        yield piece


def _narrowed(cut: Iterable[Piece], since_us: Mapping[int, int]) -> Iterator[Piece]:
    for piece in cut:
        since = since_us.get(piece.width_us, 0) if piece.width_us else 0
        if not since or piece.from_us >= since:
            yield piece
            continue
        yield Piece(0, piece.from_us, min(piece.to_us, since))
        if piece.to_us > since:
            yield Piece(piece.width_us, since, piece.to_us)
