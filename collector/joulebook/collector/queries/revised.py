"""Which figure of a job this is, which it replaced, and whether it is the last but for late Reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from joulebook.collector.ledger.uncertainty import plus_minus_uj
from joulebook.collector.store.protocol import Range, StoreView
from joulebook.collector.store.rows import AccountRow, Revision, Superseded
from joulebook.collector.store.settled import Settled


@dataclass(frozen=True, slots=True)
class Figure:
    """What a revision of a job's figure said, and until when."""

    revision: int
    energy_uj: int
    plus_minus_uj: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Revised:
    """The figures of some jobs, and up to when books are settled."""

    _revisions: Mapping[str, Revision]
    _superseded: Mapping[str, Sequence[Superseded]]
    _settled: Settled

    @classmethod
    def of(cls, store: StoreView, jobs: Collection[str], ended: Sequence[AccountRow]) -> Revised:
        """Ask for the figures of jobs. ended: what those that ended received."""
        revisions = store.revisions(jobs) if jobs else {}
        superseded = store.superseded(revisions) if revisions else {}
        if not ended:
            return cls(revisions, superseded, Settled())
        within = Range(min(row.first_unix_us for row in ended), max(row.last_unix_us for row in ended))
        return cls(revisions, superseded, store.settled(within, {row.node for row in ended}))

    def revision(self, job: str) -> tuple[int, int | None]:
        """Return the number of a job's figure, and when it last went up."""
        if (found := self._revisions.get(job)) is None:
            return 1, None
        return found.number, found.revised_unix_us

    def settled(self, received: Mapping[str, AccountRow]) -> bool:
        """Return whether all that a job received, by node, is booked with what its hours tell together."""
        return bool(received) and all(
            self._settled.has(node, row.last_unix_us) for node, row in received.items()
        )

    def superseded(self, job: str) -> list[Figure]:
        """Return what a job's figure was before it was booked anew."""
        return [
            Figure(
                was.revision,
                was.energy_uj,
                plus_minus_uj(was.systematic_uj, was.variance_uj2),
                was.until_unix_us,
            )
            for was in self._superseded.get(job, ())
        ]
