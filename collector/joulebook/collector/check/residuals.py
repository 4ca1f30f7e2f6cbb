"""What the accounts of every node and day miss of what its raw readings say, from any store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from joulebook.collector.check.finding import DAY_US, Finding, day, days
from joulebook.collector.queries.audit import booked_uj, measured_uj
from joulebook.collector.store.protocol import Range, StoreView

# How many values of energy are read at once: what nodes of four domains and one tick a second make.
_AT_ONCE = 50_000_000
_VALUES_A_US = 4 / 1_000_000
_EVER = Range(0, 1 << 62)
_HOUR_US = 3_600_000_000


def residuals(view: StoreView) -> Iterator[Finding]:
    """Give every node and day whose accounts do not receive what its meters delivered."""
    rows = view.accounts(_EVER)
    # Reports whose rows are all lost must not be overlooked.
    watched = [row.last_unix_us for row in view.nodes()]
    ends = [*watched, *(row.last_unix_us for row in rows)]
    if not ends:
        return
    from_us = _before_all(view, min([*watched, *(row.first_unix_us for row in rows)]))
    to_us = max(ends)
    nodes = max(len(watched), 1)
    slice_us = min(max(int(_AT_ONCE / nodes / _VALUES_A_US), DAY_US // 1440), DAY_US)
    off: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    today = ""
    for begin_us, end_us in _slices(from_us, to_us, slice_us, view.books_kept().rows_us):
        # A slice's end is included and its begin is not: the day is that of its end, but for midnight itself.
        this = day(end_us - 1)
        if this != today:
            yield from _found(off)
            off.clear()
            today = this
        selected = Range(begin_us, end_us)
        for node, uj in _measured_uj(view, selected).items():
            off[node, this][0] += uj
        for node, uj in booked_uj(view, [selected]).items():
            off[node, this][1] += uj
    yield from _found(off)


def _slices(from_us: int, to_us: int, slice_us: int, rows_us: int) -> Iterator[tuple[int, int]]:
    """Cut a range that begins with an hour; where rows are forgotten, hours are all that the books tell."""
    hours_us = max(slice_us // _HOUR_US, 1) * _HOUR_US
    return chain(
        days(from_us, min(to_us + -to_us % _HOUR_US, rows_us), hours_us),
        days(max(from_us, rows_us), to_us, slice_us),
    )


def _measured_uj(view: StoreView, selected: Range) -> dict[str, int]:
    """Return each node's energy from its raw readings, or else from what was added up of them."""
    added = view.measured(selected)
    if added is None or added.raw_kept:
        return measured_uj(view.raw_energy(selected), view.raw_gaps(selected))
    found = booked_uj(view, added.forgotten)
    for node, uj in added.by_node.items():
        found[node] = found.get(node, 0) + uj
    return found


def _before_all(view: StoreView, from_us: int) -> int:
    """Return a whole hour at which no Report had ended, from a time when few had."""
    hours, back = from_us // _HOUR_US, 1
    while hours > 0 and view.watched(Range(0, hours * _HOUR_US)):
        hours, back = hours - back, back * 2
    return max(hours, 0) * _HOUR_US


def _found(off: dict[tuple[str, str], list[int]]) -> Iterator[Finding]:
    for (node, at), (measured, booked) in sorted(off.items()):
        if measured != booked:
            yield Finding("residual", node, at, f"{booked} µJ booked", f"{measured} µJ measured")
