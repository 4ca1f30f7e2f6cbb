"""Book the raw readings of an embedded store again, and compare with its books, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.check.finding import Finding, day
from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.figures import FIGURES, TIER_ENERGIES, table_of
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.settlement import settled_books
from joulebook.collector.ledger.stack import Readings
from joulebook.collector.store.duckdb import stored
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.duckdb.stored import StoredGap, StoredReport, in_order

Ints = npt.NDArray[np.int64]

# So much of a boot is looked at at a time.
_PART_US = 6 * 3_600_000_000
_TIERS = [FIGURES.index(name) for name in TIER_ENERGIES]
# So many nodes' Reports of an hour are read at a time.
_NODES = 4


def replay(view: Reads, policy: Policy) -> Iterator[Finding]:
    """Give every Report whose rows are not those that its readings make, and every gap that is not one.

    policy: by which Reports are booked that were not booked anew yet. Rows that are forgotten are in hours,
    whose sums are checked anyway.
    """
    rows_us = view.books_kept().rows_us
    policies = {hour: Policy(name) for hour, name in view._rows("SELECT hour, policy FROM rebooked_hours")}
    for hour, counts in stored.hours(view).items():
        nodes = sorted(counts)
        for begin in range(0, len(nodes), _NODES):
            some = nodes[begin : begin + _NODES]
            reports = list(stored.reports_of_hour(view, hour, some))
            yield from (_broken(report) for report in reports if report.readings is None)
            whole = [report for report in reports if report.readings is not None]
            live = [report for report in whole if not report.rebooked]
            yield from _differences(view, live, book(_readings(live), policy), rows_us)
            for node in some:
                anew = in_order(r for r in whole if r.rebooked and r.node_id == node)
                if anew:
                    starts = [one.start for one in anew]
                    books = settled_books(_readings(anew), starts, policies.get(hour, policy))
                    yield from _differences(view, anew, books, rows_us)
    for node_name, boot, start_us, end_us in stored.boots(view):
        yield from _gaps(view, node_name, boot, start_us, end_us)


def _readings(reports: Sequence[StoredReport]) -> list[Readings]:
    return [one.readings for one in reports if one.readings is not None]


def _differences(
    view: Reads, reports: Sequence[StoredReport], books: Books, rows_us: int
) -> Iterator[Finding]:
    if reports:
        yield from _figures(reports, books)
        yield from _rows(view, reports, books, rows_us)


def _broken(report: StoredReport) -> Finding:
    what = f"Report {report.start_us} without the readings of its layout"
    return Finding("readings", report.node, day(report.end_unix_us), what, "one of each series")


def _figures(reports: Sequence[StoredReport], books: Books) -> Iterator[Finding]:
    for i, report in enumerate(reports):
        had, made = (report.unread_us, report.raised_uj), (int(books.unread_us[i]), int(books.raised_uj[i]))
        if had != made:
            found = f"Report {report.start_us}: unread_us, raised_uj {had}"
            yield Finding("replay", report.node, day(report.end_unix_us), found, str(made))


def _rows(view: Reads, reports: Sequence[StoredReport], books: Books, rows_us: int) -> Iterator[Finding]:
    by_number = {r.interval_id: r for r in reports if r.end_unix_us > rows_us}
    if not by_number:
        return
    numbers = np.array([r.interval_id for r in reports])
    nodes = sorted({r.node_id for r in reports})
    had = stored.rows(view, int(numbers.min()), int(numbers.max()), nodes)
    amounts = table_of(books)
    made = {
        (int(numbers[r]), a): amounts[i]
        for i, (r, a) in enumerate(zip(books.report, books.account, strict=True))
        if int(numbers[r]) in by_number
    }
    left = dict(zip(zip(had.interval_id.tolist(), had.account, strict=True), had.amounts, strict=True))
    for key, own in made.items():
        there = left.pop(key, None)
        if there is None:
            yield _differs(by_number[key[0]], key[1], "no row", _said(own))
        elif not np.array_equal(there, own) and not _before_tiers(there, own):
            yield _differs(by_number[key[0]], key[1], _said(there, own), _said(own, there))
    for key, there in left.items():
        # Who received something before a Report was booked anew keeps a row.
        if key[0] in by_number and (there.any() or not by_number[key[0]].rebooked):
            yield _differs(by_number[key[0]], key[1], _said(there), "no row")


def _before_tiers(there: Ints, own: Ints) -> bool:
    """Say whether a row tells of no tier, as one from before rows had any, and is right else."""
    return not there[_TIERS].any() and np.array_equal(np.delete(there, _TIERS), np.delete(own, _TIERS))


def _differs(report: StoredReport, account: str, found: str, expected: str) -> Finding:
    where = f"Report {report.start_us}, {account}: {found}"
    return Finding("replay", report.node, day(report.end_unix_us), where, expected)


def _said(own: Ints, other: Ints | None = None) -> str:
    """Return the amounts that differ from others', or those that are not 0."""
    apart = own != (0 if other is None else other)
    return ", ".join(f"{FIGURES[i]} {own[i]}" for i in np.flatnonzero(apart).tolist()) or "nothing"


def _gaps(view: Reads, node: str, boot: bytes, start_us: int, end_us: int) -> Iterator[Finding]:
    """Give what differs between a boot's gaps and what lies between its Reports."""
    left = {gap.start_us: gap for gap in stored.gaps(view, node, boot)}
    for before, after in neighbours(view, node, boot, start_us, end_us):
        at = day(after.start_unix_us)
        if after.start.at_us < before.end.at_us:
            found = f"Report {after.start.at_us} begins before {before.end.at_us}, where one ends"
            yield Finding("overlap", node, at, found, "Reports that meet or lie apart")
        had = left.pop(before.end.at_us, None)
        if before.forgotten or after.forgotten:
            # What their readings were is no longer known, here and before.
            left = {at_us: one for at_us, one in left.items() if at_us > before.end.at_us}
            continue
        gap = gap_between(before.end, after.start)
        made = None
        if gap is not None:
            energies = tuple(int(uj) for uj in gap.by_class_uj)
            known = (gap.raised_uj, gap.missing_ppm)
            made = StoredGap(gap.start_us, gap.end_us, after.start_unix_us, *known, energies)
        if had != made:
            yield Finding(
                "replay", node, at, f"gap at {before.end.at_us}: {had or 'none'}", str(made or "none")
            )
    for had in left.values():
        yield Finding("replay", node, day(had.end_unix_us), f"gap at {had.start_us}: {had}", "none")


def neighbours(
    view: Reads, node: str, boot: bytes, start_us: int, end_us: int
) -> Iterator[tuple[Span, Span]]:
    """Give each two Reports of a boot that stand next to each other."""
    last: Span | None = None
    for begin in range(start_us, end_us + 1, _PART_US):
        for span in view.spans(node, boot, begin, begin + _PART_US):
            if last is None:
                last = span
            elif span.start.at_us > last.start.at_us:
                yield last, span
                last = span
