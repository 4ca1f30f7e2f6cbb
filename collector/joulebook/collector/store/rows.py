"""Rows that stores answer with: of nodes, jobs and their figures, accounts, and how nodes were watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulebook.collector.ledger.layout import NodeLayout


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node, as its newest Report left it."""

    node: str
    layout: NodeLayout
    boot: bytes
    last_unix_us: int
    sources: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job on one node: what its workload said of itself, and when it was there."""

    job: str
    node: str
    source: str
    name: str
    user: str
    start_unix_us: int
    end_unix_us: int | None
    exit_status: int | None


@dataclass(frozen=True, slots=True)
class Places:
    """Where jobs are and were, and the nodes that were asked for or are those of any of the jobs."""

    jobs: Sequence[JobRow]
    nodes: Sequence[NodeRow]


@dataclass(frozen=True, slots=True)
class Revision:
    """Which figure of a job this is, counted from 1, and when it last changed after it had been final."""

    number: int
    revised_unix_us: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """What a revision of an ended job's figure said, until it was settled or billed by another policy."""

    revision: int
    energy_uj: int
    systematic_uj: int
    variance_uj2: int
    until_unix_us: int


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What one account received on one node: µJ by class (6), of storage by tier (3), how sure that is."""

    account: str
    node: str
    active_uj: tuple[int, ...]
    idle_uj: tuple[int, ...]
    tier_uj: tuple[int, ...]
    modelled_uj: int
    systematic_uj: int
    variance_uj2: int
    # Time that the intervals which it received anything in cover.
    observed_us: int
    first_unix_us: int
    last_unix_us: int


@dataclass(frozen=True, slots=True)
class TimeRow:
    """How a node's time was watched: µs reported, of those without a reading, and µs of gaps."""

    node: str
    reported_us: int
    unread_us: int
    gap_us: int
    missing_us: int
    raised_uj: int


@dataclass(frozen=True, slots=True)
class Summed:
    """The books of a range: accounts over all of its nodes, none named, and how these were watched."""

    accounts: Sequence[AccountRow]
    watched: TimeRow
