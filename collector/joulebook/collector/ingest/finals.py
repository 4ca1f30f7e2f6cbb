"""Which Reports come late for a job: after it had ended wherever it was known, and its figure was final.

What was quoted of such a job changes with them, so each raises the job's revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS, NodeLayout
from joulebook.collector.store.presence import is_running, present
from joulebook.collector.store.protocol import NodeRow, Store


@dataclass(slots=True)
class Judgement:
    """Which rows of a commit are late, by the Report's place and the account, and what is known after it."""

    late: list[tuple[int, str]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)


class Finals:
    """Judges Reports before they are stored.

    A job that runs on a node is not final, so nothing is asked about a Report whose node's newest one told of
    the same jobs, all of them running. That is nearly every Report.
    """

    def __init__(self) -> None:
        # The layout of each node's newest Report, where it is known that all of its jobs run.
        self._running: dict[str, int] = {}

    def forget(self, node: str) -> None:
        """Forget what is known of a node: its newest Report may have come another way."""
        self._running.pop(node, None)

    def judge(self, store: Store, reports: Sequence[Decoded], books: Books) -> Judgement:
        """Judge Reports by what is stored; nothing is remembered until accept()."""
        found, running, asked = Judgement(), self._running, []
        for i, decoded in enumerate(reports):
            layout = decoded.readings.layout
            if running.get(layout.node) == layout.hash and not decoded.ended:
                continue
            found.unsure.add(layout.node)
            if len(layout.accounts) > len(FIXED_ACCOUNTS):
                asked.append(i)
        if asked:
            self._ask(store, reports, books, asked, found)
        return found

    def accept(self, judgement: Judgement) -> None:
        """Remember what a commit brought, once it is durable."""
        for node in judgement.unsure:
            self._running.pop(node, None)
        self._running.update(judgement.running)

    @staticmethod
    def _ask(
        store: Store, reports: Sequence[Decoded], books: Books, asked: Sequence[int], found: Judgement
    ) -> None:
        own = {reports[i].node for i in asked}
        jobs = {job for i in asked for job in reports[i].readings.layout.jobs}
        places = store.places(jobs, own)
        there = present(places.nodes)
        final = {row.job for row in places.jobs}
        final -= {row.job for row in places.jobs if is_running(row, there)}
        if final:
            of_asked = np.flatnonzero(np.isin(books.report, asked))
            rows = zip(books.report[of_asked].tolist(), (books.account[i] for i in of_asked), strict=True)
            accounts = {f"job:{job}" for job in final}
            found.late = [(report, account) for report, account in rows if account in accounts]
        # A job that comes only now may have been told to have ended: that is seen when it is asked for again.
        going_on = {(row.node, row.job) for row in places.jobs if row.end_unix_us is None}
        going_on -= {(decoded.node, end.workload_id) for decoded in reports for end in decoded.ended}
        for node, layout in _newest(own, places.nodes, reports).items():
            if going_on.issuperset((node, job) for job in layout.jobs):
                found.running[node] = layout.hash


def _newest(own: set[str], nodes: Sequence[NodeRow], reports: Sequence[Decoded]) -> dict[str, NodeLayout]:
    """Return the layout of each node's newest Report, stored or about to be; none where two are as new."""
    newest = {row.node: (row.last_unix_us, row.layout) for row in nodes if row.node in own}
    for decoded in reports:
        layout, end_us = decoded.readings.layout, decoded.end_us + decoded.realtime_offset_us
        if layout.node in own:
            at_us, known = newest.get(layout.node, (end_us - 1, layout))
            if end_us > at_us:
                newest[layout.node] = (end_us, layout)
            elif end_us == at_us and known.hash != layout.hash:
                own = own - {layout.node}
    return {node: layout for node, (_, layout) in newest.items() if node in own}
