"""What is asked of a store in VictoriaMetrics.

Marks say which samples count. Of Reports that the server may not show or may lose yet, the samples come from
what the facts keep of them: an answer never depends on how far the server is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from joulebook.collector.facts.mark import Booking, Mark
from joulebook.collector.facts.protocol import Facts
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.store import samples as readings
from joulebook.collector.store import summed as sums
from joulebook.collector.store.garbled import reading
from joulebook.collector.store.picked import PickedReads
from joulebook.collector.store.presence import places
from joulebook.collector.store.protocol import Range, RawEnergy
from joulebook.collector.store.readings import Points
from joulebook.collector.store.rows import AccountRow, Places, Revision, Summed, Superseded, TimeRow
from joulebook.collector.store.settled import Settled
from joulebook.collector.store.spread import around, limited, spread
from joulebook.collector.store.victoriametrics.content import (
    Content,
    Samples,
    booked_as,
    joined,
    samples_of_rows,
    slots,
    whole,
)
from joulebook.collector.store.victoriametrics.exported import exported
from joulebook.collector.store.victoriametrics.fact_reads import FactReads
from joulebook.collector.store.victoriametrics.ledger import METRICS, WHOLE, Vouched, account_rows, booked
from joulebook.collector.store.victoriametrics.server import VictoriaServer
from joulebook.collector.store.window import Window, gap_of
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1.catalogue import MetricEntry, catalogue

_ENERGY = catalogue()[metrics.METRIC_DOMAIN_ENERGY]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A range's Reports and gaps, and what the facts keep of some of the Reports."""

    window: Window
    kept: dict[Booking, bytes]

    def lacks(self, mark: Mark) -> bool:
        """Return whether something of a Report is with the server alone."""
        return any((mark.name, booking) not in self.kept for booking in {0, mark.booking})


class Reads(FactReads, PickedReads):
    """The reading half. Only Reports that have their mark are seen, whatever else was written."""

    def __init__(self, server: VictoriaServer, facts: Facts) -> None:
        super().__init__(facts)
        self._server = server

    @property
    def place(self) -> str:
        """Return what it is, for people."""
        return f"{self._server.place} and its facts"

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Give one set of Reports to several questions about the same range."""
        frozen = _Frozen(self._server, self._facts)
        frozen._layouts = self._layouts
        yield frozen

    def _seen(self, selected: Range) -> _Seen:
        asked = (selected.from_us, selected.to_us, selected.node)
        during = self._facts.during(*asked)
        parted = (gap_of(*pair, self._known_layout) for pair in during.parted)
        window = Window(during.ended, [gap for gap in parted if gap is not None])
        # After the marks: what is not kept any more is with the server for good.
        return _Seen(window, self._facts.kept(*asked))

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""
        return places(self, nodes, jobs, everywhere)

    def _samples(
        self, seen: _Seen, names: Sequence[str] | None, node: str | None, **labels: str | None
    ) -> Samples:
        """Return the samples of some metrics, or all, that Reports may have, and of others perhaps."""
        marks, parts = seen.window.marks, []
        rows = []
        for mark in marks:
            for booking in {0, mark.booking}:
                if (kept := seen.kept.get((mark.name, booking))) is not None:
                    layout = self._known_layout(mark.node, mark.layout)
                    content = Content.unpacked(kept, layout, booking)
                    if booking:
                        rows.append((mark, content))
                    else:
                        parts.append(content.samples(layout, mark, names))
        # Of settled hours they are many at once.
        parts.append(samples_of_rows(rows, METRICS if names is None else names))
        there = [slots(mark) for mark in marks if seen.lacks(mark)]
        if there:
            stretch = int(min(s[0] for s in there)), int(max(s[-1] for s in there))
            # Readings have no booking.
            bookings = {"", *(booked_as(mark.booking) for mark in marks)}
            labels = {"node": node} | labels
            found = exported(
                self._server, self._facts.books, *stretch, names or (), labels, bookings=bookings
            )
            # First, so that where both have a sample it is the server's: it is what is stored.
            parts.insert(0, found)
        return whole(joined(parts))

    @reading
    def accounts(self, selected: Range) -> list[AccountRow]:
        """Return what each account received on each node, from the ledger."""
        seen, account = self._seen(selected), selected.account
        samples = self._samples(seen, METRICS, selected.node, account=account)
        if account is not None:
            samples = {series: both for series, both in samples.items() if series.account == account}
        return account_rows(samples, Vouched(seen.window.marks), seen.window.gaps, account)

    def totals(self, accounts: Collection[str], within: Range) -> list[AccountRow]:
        """Return all that some accounts ever received, by account and node."""
        return sums.totals(self, accounts, within)

    def energy_by_node(self) -> list[tuple[str, str, int]]:
        """Return (node, account, µJ) of all there ever was; all jobs are one account, `job`."""
        return sums.energy_by_node(self)

    def summed(self, selected: Range, most_jobs: int) -> Summed:
        """Return what each account received on all nodes of a range, and how they were watched."""
        return sums.summed(self, selected, most_jobs)

    @reading
    def energy_over_time(
        self,
        from_us: int,
        to_us: int,
        step_us: int,
        node: str | None,
        origin_us: int | None = None,
        most_jobs: int | None = None,
    ) -> list[tuple[str, int, int]]:
        """Return (account, step, µJ) of the ledger over the steps of (from_us, to_us]; none that is 0."""
        seen = self._seen(around(from_us, to_us, node))
        rows = booked(self._samples(seen, [WHOLE], node), Vouched(seen.window.marks), seen.window.gaps)
        return limited(spread(rows, from_us, to_us, step_us, origin_us), most_jobs)

    @reading
    def watched(self, selected: Range) -> list[TimeRow]:
        """Return how each node was watched."""
        return self._seen(selected).window.watched()

    @reading
    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""
        seen = self._seen(selected)
        stored = self._stored(seen, _ENERGY, selected.node, None)
        return readings.raw_energy(stored, seen.window.marks, slots, self._known_layout)

    def sums(self, selected: Range, step_us: int, metric: int, subject: str | None) -> None:
        """Add nothing up."""

    def measured(self, selected: Range) -> None:
        """Add nothing up."""

    @reading
    def raw_gaps(self, selected: Range) -> list[tuple[Edge, Edge]]:
        """Return the raw readings on both sides of every gap, for the check of the books."""
        return [(one.before, one.after) for one in self._seen(selected).window.gaps]

    @reading
    def points(self, selected: Range, metric: int, subject: str | None) -> list[Points]:
        """Return the series of a metric, of one subject where it is named."""
        entry = catalogue()[metric]
        if subject and entry.subject == "node":
            return []
        seen = self._seen(selected)
        stored = self._stored(seen, entry, selected.node, subject)
        return readings.points(stored, seen.window.marks, slots, entry)

    def _stored(
        self, seen: _Seen, entry: MetricEntry, node: str | None, subject: str | None
    ) -> readings.Stored:
        labels = {entry.subject: subject} if len(entry.subjects) == 1 else {}
        samples = self._samples(seen, [f"{entry.subject}_{entry.name}"], node, **labels)
        return {
            (s.node, s.clock, (s.domain, s.device, s.workload)): both
            for s, both in samples.items()
            if not subject or subject in (s.domain, s.device, s.workload, f"{s.workload}/{s.domain}")
        }


class _Frozen(Reads):
    """Reads that keep the set of Reports they saw first."""

    def __init__(self, server: VictoriaServer, facts: Facts) -> None:
        super().__init__(server, facts)
        self._first: dict[tuple[int, int, str | None], _Seen] = {}
        # Which figures of jobs these are, as of the first question about the books.
        self._change: int | None = None
        self._settled = Settled()

    def _seen(self, selected: Range) -> _Seen:
        key = (selected.from_us, selected.to_us, selected.node)
        if key not in self._first:
            with self._facts.at_once():
                if self._change is None:
                    self._change, self._settled = self._facts.changes(), self._facts.settled()
                self._first[key] = super()._seen(selected)
        return self._first[key]

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""
        return self._facts.revisions(jobs, self._change)

    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        return self._facts.superseded(jobs, self._change)

    def settled(self, within: Range, nodes: Collection[str]) -> Settled:  # noqa: ARG002
        """Return up to when Reports are booked with what their hours tell together."""
        return self._facts.settled() if self._change is None else self._settled
