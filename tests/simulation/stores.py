"""What a store makes durable, and when: two models behind the store's protocol, and a real DuckDB file.

A model keeps Reports and books as they were given to it, so that what is booked twice is there twice. What
the committer asks of a store is its protocol's: tails(), spans(), places(), commit().
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from joulebook.collector.ingest.sequence import PlacedGap, Span, span_of
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.collector.store.rows import Places
from tests.simulation.lateness import places_of, wrong_lateness
from tests.simulation.loop import Loop, Process
from tests.simulation.stored import Boot, Stored, stored_of


def near(stored: Sequence[Stored], start_us: int, end_us: int) -> list[Span]:
    """Return what touches a stretch of a boot clock, and one on either side."""
    own = sorted(stored, key=lambda s: s.decoded.start_us)
    touching = [s for s in own if s.decoded.end_us >= start_us and s.decoded.start_us <= end_us]
    before = [s for s in own if s.decoded.end_us < start_us]
    after = [s for s in own if s.decoded.start_us > end_us]
    return [span_of(s.decoded) for s in (*before[-1:], *touching, *after[:1])]


@dataclass(slots=True)
class Outage:
    """What is wrong with a store: how often a commit fails, how slow it is, whether it answers at all."""

    fails: float = 0.0
    slow_s: float = 0.0
    away: bool = False


class Opened(Protocol):
    """A store as one collector has it open."""

    shared: bool

    def tails(self) -> dict[Boot, Span]: ...

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]: ...

    def places(
        self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]
    ) -> Places: ...

    def commit(self, commit: Commit) -> None: ...


class Shared(Protocol):
    """A store as it is, whoever has it open."""

    outage: Outage
    failed: int
    # Where a commit raised other revisions than it had to.
    wrong: list[str]

    def opened(self, process: Process) -> Opened:
        """Open it for a collector."""

    def has(self, node: str, boot: bytes, start_us: int) -> bool:
        """Return whether a Report is durable."""

    def stored(self) -> list[Stored]:
        """Return the Reports that are durable."""

    def gaps(self) -> list[PlacedGap]:
        """Return the gaps that are booked."""

    def heal(self) -> None:
        """Let nothing go wrong with it any more."""

    def close(self) -> None:
        """Let go of it."""


class Transactions:
    """One writer; a commit is there wholly or not at all. Gaps are booked and removed as a commit says."""

    def __init__(self, loop: Loop, rng: Random) -> None:
        self.loop, self.rng = loop, rng
        self.outage = Outage()
        self.failed = 0
        self.wrong: list[str] = []
        self._stored: dict[Boot, list[Stored]] = {}
        self._gaps: list[PlacedGap] = []

    def opened(self, process: Process) -> Opened:
        """Open it for a collector."""
        return _Transaction(self, process)

    def has(self, node: str, boot: bytes, start_us: int) -> bool:
        """Return whether a Report is durable."""
        return any(s.decoded.start_us == start_us for s in self._stored.get((node, boot), []))

    def stored(self) -> list[Stored]:
        """Return the Reports that are durable."""
        return [one for own in self._stored.values() for one in own]

    def gaps(self) -> list[PlacedGap]:
        """Return the gaps that are booked."""
        return self._gaps

    def own(self, boot: Boot) -> list[Stored]:
        """Return a boot's Reports."""
        return self._stored.setdefault(boot, [])

    def apply(self, commit: Commit) -> None:
        """Make it durable."""
        self.wrong += wrong_lateness(self.stored(), commit)
        for one in stored_of(commit):
            self.own(one.boot).append(one)
        gone = set(commit.filled)
        self._gaps = [g for g in self._gaps if (g.node, g.boot, g.gap.start_us) not in gone]
        self._gaps += commit.gaps

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.outage = Outage()

    def boots(self) -> list[Boot]:
        """Return the boots that something is stored of."""
        return [boot for boot, own in self._stored.items() if own]

    def close(self) -> None:
        """Hold nothing."""


class _Transaction:
    shared = False

    def __init__(self, shared: Transactions, process: Process) -> None:
        self._shared, self._process = shared, process

    def _work(self) -> None:
        outage = self._shared.outage
        self._shared.loop.pause((0.001 + outage.slow_s) * self._shared.rng.random())
        self._process.step()
        if outage.away or (outage.fails and self._shared.rng.random() < outage.fails):
            self._shared.failed += 1
            raise StoreError("store: not written (No space left on device)")

    def _answer(self) -> None:
        if self._shared.outage.away:
            self._shared.failed += 1
            raise StoreError("store: does not answer")

    def tails(self) -> dict[Boot, Span]:
        self._work()
        tails = {}
        for boot in self._shared.boots():
            last = max(self._shared.own(boot), key=lambda s: s.decoded.end_us)
            tails[boot] = span_of(last.decoded)
        return tails

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        self._work()
        return near(self._shared.own((node, boot)), start_us, end_us)

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        self._answer()
        return places_of((one.decoded for one in self._shared.stored()), nodes, jobs, everywhere)

    def commit(self, commit: Commit) -> None:
        self._work()
        self._shared.apply(commit)
        # Durable; whoever dies now does not know.
        self._process.step()
        self._shared.loop.pause(self._shared.rng.random() * 0.001)
