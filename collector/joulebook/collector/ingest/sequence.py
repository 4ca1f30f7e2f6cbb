"""Which Reports are new, which were here before, and what lies between them.

A node's Reports tile its boot clock. The place of each is its start on that clock, so whether a Report is
new, a repetition or in conflict with another is decided by the set of Reports, whatever order they come in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import grpc

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.collector.ledger.gaps import Edge, Gap, gap_between

Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Span:
    """One Report's place on its node's boot clock, and the readings at both of its ends."""

    start: Edge
    end: Edge
    # Wall clock of the start, for a gap that ends there.
    start_unix_us: int
    # Any number of Reports that meet, whose readings are forgotten: both ends say when, and nothing else.
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class PlacedGap:
    """A gap of a node's books, and the wall clock at its end."""

    node: str
    boot: bytes
    gap: Gap
    end_unix_us: int


@dataclass(slots=True)
class Placement:
    """What is to be done with a batch: places in the batch, gaps to book, and gaps that are filled now."""

    new: list[int] = field(default_factory=list)
    duplicate: list[int] = field(default_factory=list)
    conflict: list[int] = field(default_factory=list)
    gaps: list[PlacedGap] = field(default_factory=list)
    # (node, boot, start_us) of gaps booked earlier that something fell into.
    filled: list[tuple[str, bytes, int]] = field(default_factory=list)
    tails: dict[Key, Span] = field(default_factory=dict)
    # Why others are refused, by their places.
    refused: dict[int, RefusalError] = field(default_factory=dict)


# Stored spans of one node and boot that touch [start_us, end_us] and the nearest on either side, in order.
Lookup = Callable[[str, bytes, int, int], Sequence[Span]]


def span_of(decoded: Decoded) -> Span:
    """Return a Report's place."""
    layout = decoded.readings.layout
    energy = decoded.readings.values[layout.energy_row]
    first = energy[:, 0]
    return Span(
        Edge(layout, decoded.start_us, first),
        Edge(layout, decoded.end_us, first + energy[:, 1:].sum(axis=1)),
        decoded.start_us + decoded.realtime_offset_us,
    )


def _gaps_beside(key: Key, spans: Sequence[Span], fresh: set[int]) -> Iterator[PlacedGap]:
    """Give the gaps that Reports which are new make with their neighbours."""
    for before, after in pairwise(spans):
        if id(before) in fresh or id(after) in fresh:
            gap = gap_between(before.end, after.start)
            if gap is not None:
                yield PlacedGap(*key, gap, after.start_unix_us)


def _repeats(decoded: Decoded, span: Span) -> bool:
    if span.forgotten:
        return span.start.at_us <= decoded.start_us and decoded.end_us <= span.end.at_us
    return span.start.at_us == decoded.start_us


def _beside_forgotten(decoded: Decoded, spans: Sequence[Span]) -> bool:
    """Say whether the readings on either side are forgotten, so that no gap could be told."""
    before = [s for s in spans if s.end.at_us <= decoded.start_us]
    after = [s for s in spans if s.start.at_us >= decoded.end_us]
    nearest = (
        max(before, key=lambda s: s.end.at_us, default=None),
        min(after, key=lambda s: s.start.at_us, default=None),
    )
    return any(span is not None and span.forgotten for span in nearest)


_NONE: Mapping[bytes, Span] = {}


class Sequencer:
    """Places Reports. Keeps one span a node, the newest, so that what comes in order needs no look-up."""

    def __init__(self, tails: dict[Key, Span]) -> None:
        self._tails: dict[str, dict[bytes, Span]] = defaultdict(dict)
        for (node, boot), span in tails.items():
            self._tails[node][boot] = span

    def place(
        self, batch: Sequence[Decoded], lookup: Lookup, refused: Mapping[int, RefusalError]
    ) -> Placement:
        """Place a batch but for those that are refused; nothing is remembered until accept()."""
        placement = Placement(refused=dict(refused))
        by_key: dict[Key, list[int]] = defaultdict(list)
        for i, decoded in enumerate(batch):
            if i not in refused:
                by_key[decoded.node, decoded.boot].append(i)
        for key, members in by_key.items():
            self._place_node(key, [(i, batch[i]) for i in members], lookup, placement)
        placement.new.sort()
        return placement

    def _place_node(
        self, key: Key, members: list[tuple[int, Decoded]], lookup: Lookup, placement: Placement
    ) -> None:
        tail = self._tails.get(key[0], _NONE).get(key[1])
        if tail is not None and len(members) == 1 and members[0][1].start_us >= tail.end.at_us:
            self._place_next(key, *members[0], tail, placement)
            return
        members.sort(key=lambda m: m[1].start_us)
        if tail is not None and members[0][1].start_us >= tail.end.at_us:
            stored: list[Span] = [tail]
        else:
            stored = list(lookup(*key, members[0][1].start_us, max(d.end_us for _, d in members)))
        spans = list(stored)
        forgetful = any(span.forgotten for span in stored)
        fresh: set[int] = set()
        for i, decoded in members:
            clash = [s for s in spans if s.start.at_us < decoded.end_us and s.end.at_us > decoded.start_us]
            if not clash and forgetful and _beside_forgotten(decoded, spans):
                placement.refused[i] = RefusalError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"sequence {decoded.start_us}: beside Reports whose readings the store no longer keeps",
                )
            elif not clash:
                span = span_of(decoded)
                spans.append(span)
                fresh.add(id(span))
                placement.new.append(i)
            elif any(_repeats(decoded, s) for s in clash):
                placement.duplicate.append(i)
            else:
                placement.conflict.append(i)
        if not fresh:
            return
        spans.sort(key=lambda s: s.start.at_us)
        placement.gaps += _gaps_beside(key, spans, fresh)
        placement.filled += [
            (*key, old.end.at_us)
            for old, now in pairwise(spans)
            if id(old) not in fresh and id(now) in fresh and old is not stored[-1]
        ]
        # What was looked up is the neighbours alone: one that was stored before may have others behind it.
        if id(spans[-1]) in fresh and (tail is None or spans[-1].end.at_us > tail.end.at_us):
            placement.tails[key] = spans[-1]

    @staticmethod
    def _place_next(key: Key, i: int, decoded: Decoded, tail: Span, placement: Placement) -> None:
        """Place a Report that follows on its node's newest, as nearly all do."""
        span = span_of(decoded)
        gap = gap_between(tail.end, span.start)
        if gap is not None:
            placement.gaps.append(PlacedGap(*key, gap, span.start_unix_us))
        placement.new.append(i)
        placement.tails[key] = span

    def accept(self, placement: Placement) -> None:
        """Remember what a placement brought, once it is durable."""
        for (node, boot), span in placement.tails.items():
            # Of boots before there is no more to come than now and then a late Report, which is looked up.
            self._tails[node] = {boot: span}
