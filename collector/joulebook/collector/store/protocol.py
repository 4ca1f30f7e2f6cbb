"""What every store does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.sequence import PlacedGap, Span
from joulebook.collector.ledger.book import Books
from joulebook.collector.ledger.gaps import Edge
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.kept import BooksKept
from joulebook.collector.store.readings import Points, Sums
from joulebook.collector.store.rows import (
    AccountRow,
    JobRow,
    NodeRow,
    Places,
    Revision,
    Summed,
    Superseded,
    TimeRow,
)
from joulebook.collector.store.scheduled import ScheduledKeeper, ScheduledView
from joulebook.collector.store.settled import Settled

Ints = npt.NDArray[np.int64]


class StoreError(Exception):
    """The store could not do what was asked; nothing of it was done."""


class NoRoomError(StoreError):
    """There is no room on the disk; it may be tried again."""


class LinesRefusedError(StoreError):
    """A server did not take lines as they are, whoever writes them; how many of them it named, at least 1."""

    def __init__(self, message: str, lines: int = 1) -> None:
        super().__init__(message)
        self.lines = lines


class BeyondRetentionError(Exception):
    """Reports are older than what the store keeps, and can never be stored; nothing of the commit was done.

    places: which of the commit's Reports, where it had others too.
    """

    def __init__(self, message: str, places: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.places = places


@dataclass(frozen=True, slots=True)
class Commit:
    """What becomes durable at once, or not at all. books' report numbers are places in reports.

    late: rows of books, by their Report's place and account, of jobs whose figure was final before; each
    raises its job's revision. unix_us: when that is.
    """

    reports: Sequence[Decoded]
    books: Books
    gaps: Sequence[PlacedGap] = ()
    filled: Sequence[tuple[str, bytes, int]] = ()
    late: Sequence[tuple[int, str]] = ()
    unix_us: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Intervals that ended after from_us and not after to_us, wall clock; of one node where it is named."""

    from_us: int
    to_us: int
    node: str | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class RawEnergy:
    """Raw energy of Reports of one layout and length: increments (reports, domains, ticks)."""

    layout: NodeLayout
    energy_uj: Ints


@dataclass(frozen=True, slots=True)
class Measured:
    """What each node's meters delivered, in µJ, from raw readings or what was added up of them.

    forgotten: stretches of which neither is left, parts of hours whose raw readings are no longer kept, and
    which by_node has nothing of. raw_kept: all raw readings of the range are still there.
    """

    by_node: Mapping[str, int]
    forgotten: Sequence[Range] = ()
    raw_kept: bool = True


class StoreView(ScheduledView, Protocol):
    """Answers from readings and books."""

    def tails(self) -> dict[tuple[str, bytes], Span]:
        """Return the last Report's span of every boot of every node."""

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        """Return the Reports that touch [start_us, end_us] of the boot clock and one on either side."""

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        """Return what nodes' newest Reports say, where jobs are and were of these, and some everywhere."""

    def layout(self, node: str, hash_: int) -> NodeLayout | None:
        """Return a layout that a stored Report was sent with."""

    def nodes(self, named: Collection[str] | None = None, *, sources: bool = True) -> list[NodeRow]:
        """Return every node, or those that are named, by name; how their sources are only where asked for."""

    def node_names(self) -> list[str]:
        """Return the name of every node."""

    def jobs(self, named: Collection[str] | None = None, on: Collection[str] | None = None) -> list[JobRow]:
        """Return every job on every node, or those that are named and on named nodes, by job and node."""

    def revisions(self, jobs: Collection[str]) -> dict[str, Revision]:
        """Return the revision of those of some jobs that have another than the first."""

    def superseded(self, jobs: Collection[str]) -> dict[str, list[Superseded]]:
        """Return the figures that booking anew replaced, by revision, of those of some jobs that have any."""

    def settled(self, within: Range, nodes: Collection[str]) -> Settled:
        """Return up to when Reports, of a range and nodes at least, are booked with their hours' others."""

    def open_jobs(self) -> list[tuple[str, str]]:
        """Return (node, job) of whose end nothing was told."""

    def newest_jobs(self, asked: JobsAsked) -> list[JobRow]:
        """Return some jobs on all of their nodes, in order of the jobs; a job began where it did first."""

    def books_kept(self) -> BooksKept:
        """Return how fine the books are known of which time; what is asked finer raises StoreError."""

    def accounts(self, selected: Range) -> list[AccountRow]:
        """Return what each account received on each node, from the ledger."""

    def energies(self, selected: Range) -> list[tuple[str, str, int]]:
        """Return (account, node, µJ) of what each account received on each node."""

    def booked_uj(self, selected: Range) -> dict[str, int]:
        """Return what all accounts of each node received together."""

    def all_booked_uj(self, selected: Range) -> int:
        """Return what all accounts of all nodes of a range received together."""

    def totals(self, accounts: Collection[str], within: Range) -> list[AccountRow]:
        """Return all that some accounts ever received, by account and node; none of it is out of a range."""

    def energy_by_node(self) -> list[tuple[str, str, int]]:
        """Return (node, account, µJ) of all there ever was; all jobs are one account, `job`."""

    def summed(self, selected: Range, most_jobs: int) -> Summed:
        """Return what each account received on all nodes of a range, and how they were watched.

        Jobs beyond the most are summed in an account without a name.
        """

    def energy_over_time(
        self,
        from_us: int,
        to_us: int,
        step_us: int,
        node: str | None,
        origin_us: int | None = None,
        most_jobs: int | None = None,
    ) -> list[tuple[str, int, int]]:
        """Return (account, step, µJ) of the ledger over the steps of (from_us, to_us]; none that is 0.

        Steps are counted from origin_us, at or before from_us, which it is if it is None. What was booked for
        an interval is spread evenly over its time, in whole µJ. Jobs beyond the most are summed in an account
        without a name.
        """

    def watched(self, selected: Range) -> list[TimeRow]:
        """Return how each node was watched."""

    def raw_energy(self, selected: Range) -> list[RawEnergy]:
        """Return raw readings of energy, for the check of the books."""

    def measured(self, selected: Range) -> Measured | None:
        """Return what the store itself adds up of raw readings; None where it does not."""

    def raw_gaps(self, selected: Range) -> list[tuple[Edge, Edge]]:
        """Return the raw readings on both sides of every gap, for the check of the books."""

    def points(self, selected: Range, metric: int, subject: str | None) -> list[Points]:
        """Return the series of a metric, of one subject where it is named."""

    def sums(self, selected: Range, step_us: int, metric: int, subject: str | None) -> list[Sums] | None:
        """Return a metric's series over the steps of a range; None where the store has points only."""


class Store(StoreView, ScheduledKeeper, Protocol):
    """Keeps readings and books. Reads may run beside each other and beside one commit."""

    # Whether other collectors may write to it.
    shared: bool

    def commit(self, commit: Commit) -> None:
        """Make it all durable in one transaction. Raises StoreError with nothing done."""

    def snapshot(self) -> AbstractContextManager[StoreView]:
        """Give one state of the store to several questions; they are asked one after the other."""

    def close(self) -> None:
        """Let go of the store."""
