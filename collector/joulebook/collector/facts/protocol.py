"""What every keeper of facts does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from joulebook.collector.facts.mark import Booking, Mark, Name
from joulebook.collector.store.rows import JobRow, Revision, Superseded
from joulebook.collector.store.scheduled import ScheduledKeeper, ScheduledView
from joulebook.collector.store.settled import Settled

# What a source said of itself: state, reason and fix.
SourceState = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Report is about to be stored: its first and last slot, and a digest of what is stored there."""

    mark: Mark
    first_slot: int
    last_slot: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class During:
    """Reports that ended in a range, by node and end; and each that began in it apart from the one before it,
    with that."""

    ended: Sequence[Mark]
    parted: Sequence[tuple[Mark, Mark]]


@dataclass(frozen=True, slots=True)
class Told:
    """What Reports brought beside readings.

    Layouts are (node, hash, bytes), source states by node and name. Of jobs, what is said first of source and
    start stays, and a name or user that comes late is added; of ends the latest counts. A revision is a job,
    the Report that came late for it, and the wall clock when it did.
    """

    layouts: Sequence[tuple[str, int, bytes]] = ()
    jobs: Sequence[JobRow] = ()
    # (job, node, wall clock, exit status)
    ends: Sequence[tuple[str, str, int, int]] = ()
    sources: Mapping[tuple[str, str], SourceState] | None = None
    revisions: Sequence[tuple[str, Name, int]] = ()


@dataclass(frozen=True, slots=True)
class Rebooked:
    """Reports of an hour that were booked anew: all of their names.

    rows: what is kept of those whose rows are others now, which are under one number. superseded: what the
    figures of jobs that had ended were.
    """

    hour: int
    policy: str
    names: Sequence[Name]
    booking: int
    rows: Mapping[Name, bytes]
    superseded: Mapping[str, Superseded]


class Facts(ScheduledView, ScheduledKeeper, Protocol):
    """Keeps what is no time series beside a store of time series. Used from any thread. Raises StoreError.

    A Report's place is reserved before anything is written there, and settled when everything is: no place is
    ever given to two Reports, whatever became of the first. Only settled Reports are told of.
    """

    # Names these books among all that share a server: samples of other books are none of ours.
    books: str

    def layout(self, node: str, hash_: int) -> bytes | None:
        """Return a layout's bytes."""

    def jobs(self, named: Collection[str] | None, on: Collection[str] | None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""

    def at_once(self) -> AbstractContextManager[None]:
        """Have nothing change between several questions."""

    def changes(self) -> int:
        """Return the number of the newest change of figures that were final."""

    def revisions(self, jobs: Collection[str], upto: int | None = None) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first; as of a change."""

    def superseded(self, jobs: Collection[str], upto: int | None = None) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""

    def settled(self) -> Settled:
        """Return up to when Reports are booked with what their hours tell together."""

    def due(self, after_us: int, before_us: int) -> dict[int, dict[str, int]]:
        """Return the hours of a range, and how many Reports nodes have in each, to be booked anew."""

    def policy_of(self, hour: int) -> str | None:
        """Return by which policy an hour was booked anew, None where it was not."""

    def take_booking(self, names: Sequence[Name]) -> int:
        """Return a number that no booking of some Reports ever had; durable when this returns."""

    def rebook(self, anew: Rebooked) -> None:
        """Have other rows of Reports count, in one transaction with what is kept of them."""

    def sources(self, nodes: Collection[str] | None) -> dict[str, dict[str, SourceState]]:
        """Return what each node's sources, or those of some nodes, said last, by name."""

    def tails(self) -> list[Mark]:
        """Return the Report of every boot that ends last on its boot clock."""

    def nodes(self, named: Collection[str] | None) -> list[Mark]:
        """Return the newest Report by wall clock of every node, or of those that are named, by node."""

    def during(self, from_us: int, to_us: int, node: str | None) -> During:
        """Return the Reports of a range of wall clock, all as of one instant."""

    def around(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Mark]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""

    def reserve(self, places: Sequence[Place]) -> list[str]:
        """Give each Report a clock under which its slots are its own; durable when this returns.

        A Report that comes again with the same digest gets the same one.
        """

    def settle(self, kept: Mapping[Name, bytes], digests: Mapping[Name, bytes], told: Told) -> None:
        """Take Reports for stored, in one transaction with what they told and with what is kept of them."""

    def kept(self, from_us: int, to_us: int, node: str | None) -> dict[Booking, bytes]:
        """Return what is kept of the Reports that ended in a range of wall clock."""

    def kept_marks(self) -> list[Mark]:
        """Return the Reports of which something is kept, oldest first, each booking by itself."""

    def release(self, names: Sequence[Booking]) -> None:
        """Forget what is kept of Reports; their marks stay."""

    def forget(self, before_us: int) -> None:
        """Forget the Reports that ended before a wall clock."""

    def close(self) -> None:
        """Let go of it."""
