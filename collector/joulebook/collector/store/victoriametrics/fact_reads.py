"""What a store in VictoriaMetrics answers from its facts alone: layouts, Reports' spans, nodes and jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from joulebook.collector.facts.mark import Mark
from joulebook.collector.facts.protocol import Facts
from joulebook.collector.ingest.sequence import Span
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.garbled import reading
from joulebook.collector.store.protocol import Range, StoreError
from joulebook.collector.store.rows import JobRow, NodeRow, Revision, Superseded
from joulebook.collector.store.scheduled import Scheduled
from joulebook.collector.store.settled import Settled
from joulebook.v1 import report_pb2

_LAYOUTS = 10_000


class FactReads:
    """The reading half's part that needs no server."""

    if TYPE_CHECKING:

        @property
        def place(self) -> str: ...

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._layouts: dict[tuple[str, int], NodeLayout] = {}

    @reading
    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""
        found = self._layouts.get((node, hash_))
        if found is None and (serialized := self._facts.layout(node, hash_)) is not None:
            if len(self._layouts) > _LAYOUTS:
                self._layouts.clear()
            found = NodeLayout(hash_, report_pb2.Layout.FromString(serialized))
            self._layouts[node, hash_] = found
        return found

    def _known_layout(self, node: str, hash_: int) -> NodeLayout:
        found = self.layout(node, hash_)
        if found is None:
            raise StoreError(f"facts: layout {hash_:016x} of {node} is missing, though its Reports are there")
        return found

    def _span(self, mark: Mark) -> Span:
        return mark.span(self._known_layout(mark.node, mark.layout))

    @reading
    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node."""
        return {(mark.node, mark.boot): self._span(mark) for mark in self._facts.tails()}

    @reading
    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""
        return [self._span(mark) for mark in self._facts.around(node, boot, start_us, end_us)]

    def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]:
        """Return every node, or those that are named, by name; how their sources are only where asked for."""
        states = self._facts.sources(named) if sources else {}
        return [
            NodeRow(
                mark.node,
                self._known_layout(mark.node, mark.layout),
                mark.boot,
                mark.end_unix_us,
                states.get(mark.node, {}),
            )
            for mark in self._facts.nodes(named)
        ]

    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""
        return self._facts.jobs(named, on)

    def scheduled(self, jobs: Collection[str] | None = None) -> dict[str, Scheduled]:
        """Return what was told of every job, or of those that are named and of which anything was."""
        return self._facts.scheduled(jobs)

    def jobs_known_as(self, known_as: str) -> list[str]:
        """Return the jobs that their scheduler calls so, by name."""
        return self._facts.jobs_known_as(known_as)

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""
        return self._facts.revisions(jobs)

    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""
        return self._facts.superseded(jobs)

    def settled(self, within: Range, nodes: Collection[str]) -> Settled:  # noqa: ARG002
        """Return up to when Reports are booked with what their hours tell together."""
        return self._facts.settled()
