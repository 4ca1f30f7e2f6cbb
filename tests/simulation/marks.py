"""A store that several collectors share and that has no transactions, as a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from joulebook.collector.ingest.sequence import PlacedGap, Span, span_of
from joulebook.collector.ledger.gaps import gap_between
from joulebook.collector.store.protocol import Commit, StoreError
from joulebook.collector.store.rows import Places
from tests.simulation.lateness import places_of
from tests.simulation.loop import Loop, Process
from tests.simulation.stored import Boot, Stored, stored_of
from tests.simulation.stores import Opened, Outage, near


class Marks:
    """Any number of writers, no transactions: points first, in pieces, then the marks, as in InfluxDB.

    A point replaces another of its name. A write may be done though its answer never came, now or later.
    """

    def __init__(self, loop: Loop, rng: Random, world: Process) -> None:
        self.loop, self.rng, self._world = loop, rng, world
        self.outage = Outage()
        self.failed = 0
        self.late = 0
        self._points: dict[tuple[str, bytes, int], Stored] = {}
        self._marks: dict[tuple[str, bytes, int], Stored] = {}
        self._raised: dict[tuple[str, bytes, int], frozenset[str]] = {}
        self.wrong: list[str] = []
        self.changed: list[str] = []

    def opened(self, process: Process) -> Opened:
        """Open it for a collector."""
        return _Marked(self, process)

    def has(self, node: str, boot: bytes, start_us: int) -> bool:
        """Return whether a Report is durable."""
        return (node, boot, start_us) in self._marks

    def has_mark(self, one: Stored) -> bool:
        """Return whether a Report is durable."""
        return self.has(*one.boot, one.decoded.start_us)

    def stored(self) -> list[Stored]:
        """Return the Reports that are durable: those that have a mark."""
        return [replace(self._points[key], late=self._raised.get(key, frozenset())) for key in self._marks]

    def of_boot(self, boot: Boot) -> list[Stored]:
        """Return the Reports of a boot."""
        return [one for one in self._marks.values() if one.boot == boot]

    def gaps(self) -> list[PlacedGap]:
        """Return the gaps, which follow from the marks."""
        by_boot: dict[Boot, list[Span]] = {}
        for one in self._marks.values():
            by_boot.setdefault(one.boot, []).append(span_of(one.decoded))
        gaps = []
        for boot, spans in by_boot.items():
            spans.sort(key=lambda s: s.start.at_us)
            for before, after in pairwise(spans):
                gap = gap_between(before.end, after.start) if before.end.at_us <= after.start.at_us else None
                if gap is not None:
                    gaps.append(PlacedGap(*boot, gap, after.start_unix_us))
        return gaps

    def write(self, what: str, one: Stored) -> None:
        """Do one write on the server."""
        key = (*one.boot, one.decoded.start_us)
        if what == "late":
            self._raised[key] = self._raised.get(key, frozenset()) | one.late
            return
        place = self._points if what == "point" else self._marks
        before = place.get(key)
        if what == "mark" and before is not None and not before.same(one):
            self.changed.append(f"report {key} was overwritten by another content")
        place[key] = one

    def arrive_later(self, what: str, one: Stored) -> None:
        """Let a write come through long after its caller gave up."""
        self.late += 1
        delay_s = self.rng.choice([0.1, 5.0, 60.0]) * self.rng.random()
        self.loop.call_later(delay_s, self.write, what, one, context=self._world.context)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.outage = Outage()

    def close(self) -> None:
        """Hold nothing."""


class _Marked:
    shared = True

    def __init__(self, shared: Marks, process: Process) -> None:
        self._shared, self._process = shared, process

    def _work(self) -> None:
        shared = self._shared
        shared.loop.pause((0.001 + shared.outage.slow_s) * shared.rng.random())
        self._process.step()
        self._answer()

    def _answer(self) -> None:
        if self._shared.outage.away:
            self._shared.failed += 1
            raise StoreError("store: does not answer")

    def _write(self, what: str, ones: Sequence[Stored]) -> None:
        """Write some points in one request."""
        shared, rng = self._shared, self._shared.rng
        self._work()
        if rng.random() < shared.outage.fails:
            shared.failed += 1
            match rng.randrange(3):
                case 0:
                    pass
                case 1:
                    for one in ones[: rng.randint(0, len(ones))]:
                        shared.write(what, one)
                case 2:
                    for one in ones:
                        shared.arrive_later(what, one)
            raise StoreError("store: no answer")
        for one in ones:
            shared.write(what, one)
        self._process.step()

    def tails(self) -> dict[Boot, Span]:
        self._work()
        tails: dict[Boot, Span] = {}
        for one in self._shared.stored():
            span = span_of(one.decoded)
            if one.boot not in tails or tails[one.boot].end.at_us < span.end.at_us:
                tails[one.boot] = span
        return tails

    def spans(self, node: str, boot: bytes, start_us: int, end_us: int) -> list[Span]:
        self._work()
        return near(self._shared.of_boot((node, boot)), start_us, end_us)

    def places(self, nodes: Collection[str], jobs: Collection[str], everywhere: Collection[str]) -> Places:
        self._answer()
        return places_of((one.decoded for one in self._shared.stored()), nodes, jobs, everywhere)

    def commit(self, commit: Commit) -> None:
        ones = stored_of(commit)
        # Of what is there already nothing is late: it came by way of another collector.
        if late := [one for one in ones if one.late and not self._shared.has_mark(one)]:
            self._write("late", late)
        for what in ("point", "mark"):
            for begin in range(0, len(ones), 3):
                self._write(what, ones[begin : begin + 3])
