"""Which Reports come late for a job: after it had ended wherever it was known, and its figure was final.

What was quoted of such a job changes with them, so each raises the job's revision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.layout import FIXED_ACCOUNTS, NodeLayout
from joulebook.collector.store.presence import goes_on, is_running, present
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.rows import NodeRow


@dataclass(slots=True)
class Judgement:
    """Which rows of a commit are late, by the Report's place and the account, and what is known after it.

    running: of nodes on which all jobs run, the layout of the newest Report. unsure: nodes of which nothing
    else is known.
    """

    late: list[tuple[int, str]] = field(default_factory=list)
    running: dict[str, NodeLayout] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)


class Finals:
    """Judges Reports before they are stored.

    A job that runs on a node is not final, so nothing is asked about a Report whose node's newest one told of
    the same jobs, all of them running. That is nearly every Report.
    """

    def __init__(self) -> None:
        self._running: dict[str, NodeLayout] = {}
        # On how many of those nodes a job is.
        self._nodes: Counter[str] = Counter()
        self._met: set[str] = set()

    def meet(self, node: str) -> None:
        """Take note, from any thread, that a node's newest Report may have come another way."""
        self._met.add(node)

    def _forget(self, node: str) -> None:
        if (layout := self._running.pop(node, None)) is not None:
            for job in layout.jobs:
                self._nodes[job] -= 1
                if not self._nodes[job]:
                    del self._nodes[job]

    def judge(self, store: Store, reports: Sequence[Decoded], books: Books) -> Judgement:
        """Judge Reports by what is stored; nothing is remembered until accept()."""
        while self._met:
            self._forget(self._met.pop())
        found, running, asked = Judgement(), self._running, []
        for i, decoded in enumerate(reports):
            layout = decoded.readings.layout
            known = running.get(layout.node)
            if known is not None and known.hash == layout.hash and not decoded.ended:
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
            self._forget(node)
        for node, layout in judgement.running.items():
            self._running[node] = layout
            self._nodes.update(layout.jobs)

    def _ask(
        self, store: Store, reports: Sequence[Decoded], books: Books, asked: Sequence[int], found: Judgement
    ) -> None:
        own = {reports[i].node for i in asked}
        jobs = {job for i in asked for job in reports[i].readings.layout.jobs}
        # One that is known to run somewhere is not final. Of a shared store others may know better.
        open_ = jobs if store.shared else jobs - self._nodes.keys()
        places = store.places(own, jobs, open_)
        there = present(places.nodes)
        final = open_.intersection(row.job for row in places.jobs)
        final = final.difference(row.job for row in places.jobs if is_running(row, there))
        if final:
            of_asked = np.flatnonzero(np.isin(books.report, asked))
            rows = zip(books.report[of_asked].tolist(), (books.account[i] for i in of_asked), strict=True)
            accounts = {f"job:{job}" for job in final}
            found.late = [(report, account) for report, account in rows if account in accounts]
        # A job that comes only now may have been told to have ended: that is seen when it is asked for again.
        ends = {(row.node, row.job): row.end_unix_us for row in places.jobs}
        for key, end_us in ((key, end_us) for key, end_us in _ends(reports) if key in ends):
            ends[key] = max(ends[key] or 0, end_us)
        for node, layout in _newest(own, places.nodes, reports).items():
            starts = [((node, job), start_us) for job, start_us in layout.job_starts.items()]
            if all(key in ends and goes_on(start_us, ends[key]) for key, start_us in starts):
                found.running[node] = layout


def _ends(reports: Sequence[Decoded]) -> Iterator[tuple[tuple[str, str], int]]:
    """Give what Reports tell of ends, by node and job."""
    for decoded in reports:
        for end in decoded.ended:
            yield (decoded.node, end.workload_id), end.end_unix_us


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
