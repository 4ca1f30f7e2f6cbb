"""What a range holds: the Reports that ended in it, and the gaps between Reports that ended in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulebook.collector.facts.mark import Mark
from joulebook.collector.ledger.gaps import Edge, Gap, gap_between
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.rows import TimeRow


@dataclass(frozen=True, slots=True)
class GapBetween:
    """A gap: the readings on both sides, what they say passed, and the wall clock at its end."""

    before: Edge
    after: Edge
    gap: Gap
    node: str
    boot: bytes
    end_unix_us: int


@dataclass(frozen=True, slots=True)
class Window:
    """Reports that ended in a range, by node and end, and the gaps that ended in it."""

    marks: Sequence[Mark]
    gaps: Sequence[GapBetween]

    def watched(self) -> list[TimeRow]:
        """Return how each node was watched."""
        # reported, unread, gap, missing, raised
        found: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
        for mark in self.marks:
            times = found[mark.node]
            times[0] += mark.end_us - mark.start_us
            times[1] += mark.unread_us
            times[4] += mark.raised_uj
        for one in self.gaps:
            times, length_us = found[one.node], one.gap.end_us - one.gap.start_us
            times[2] += length_us
            times[3] += length_us * one.gap.missing_ppm // 1_000_000
            times[4] += one.gap.raised_uj
        return [TimeRow(node, *times) for node, times in sorted(found.items())]


def gap_of(before: Mark, after: Mark, layout: Callable[[str, int], NodeLayout]) -> GapBetween | None:
    """Return the gap between two Reports that stand next to each other; None: nothing can have passed."""
    meets = before.end_us == after.start_us and before.last_uj == after.first_uj
    if meets and before.layout == after.layout:
        return None
    last = before.span(layout(before.node, before.layout)).end
    following = after.span(layout(after.node, after.layout)).start
    gap = gap_between(last, following)
    if gap is None:
        return None
    return GapBetween(last, following, gap, after.node, after.boot, after.start_unix_us)
