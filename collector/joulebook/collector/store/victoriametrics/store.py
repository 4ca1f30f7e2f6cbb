"""A store in VictoriaMetrics, with a file of facts beside it, for one collector.

The server has no transactions, replaces nothing and forgets its last seconds when it is killed. Every Report
gets slots of its own, its samples are written there, and when the server took them one transaction of the
facts sets the marks. Without its mark nothing was there; what is written into slots again is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from joulebook.collector.facts.mark import Mark, Name, marks_of
from joulebook.collector.facts.protocol import Facts, Place, Rebooked, Told
from joulebook.collector.facts.sqlite import SqliteFacts
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.anew import figures, final_jobs, superseded
from joulebook.collector.store.credentials import authorization
from joulebook.collector.store.protocol import BeyondRetentionError, Commit, StoreError
from joulebook.collector.store.rows import JobRow
from joulebook.collector.store.scheduled import Scheduled
from joulebook.collector.store.victoriametrics.address import VictoriaAddress
from joulebook.collector.store.victoriametrics.content import Content, contents_of, slots
from joulebook.collector.store.victoriametrics.keeping import Keeping
from joulebook.collector.store.victoriametrics.reads import Reads
from joulebook.collector.store.victoriametrics.server import VictoriaServer
from joulebook.v1 import report_pb2
from joulebook.v1.naming import job_of

# What the server takes of the future.
_AHEAD_MS = 2 * 86_400_000
_FORGET_EVERY_S = 3600.0


class VictoriaStore(Reads):
    """A Store in a VictoriaMetrics server, or in a cluster behind one address."""

    shared = False

    def __init__(
        self,
        address: str,
        *,
        facts: str,
        credentials: str = "",
        compress: bool = True,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            parsed = VictoriaAddress.parse(address)
        except ValueError as error:
            raise StoreError(f"store {address!r}: {error}") from error
        server = VictoriaServer(parsed, authorization(credentials, token="Bearer"), compress=compress)
        try:
            self._retention_ms = server.retention_ms()
            kept: Facts = SqliteFacts(facts)
        except BaseException:
            server.close()
            raise
        super().__init__(server, kept)
        self._clock_s = clock_s
        self._keeping = Keeping(server, kept, self._known_layout)
        self._writing = threading.Lock()
        self._told: set[tuple[str, int]] = set()
        self._forgot_s = float("-inf")

    def close(self) -> None:
        """Let go of the store."""
        self._server.close()
        self._facts.close()

    def commit(self, commit: Commit) -> None:
        """Write samples, and once the server took them the marks. Raises StoreError.

        Gaps follow from the marks, and are not written.
        """
        with self._writing:
            self._forget_old()
            self._keeping.look(self._clock_s())
            reports = list(commit.reports)
            contents = contents_of(reports, commit.books)
            marks = marks_of(reports, commit.books, [""] * len(reports))
            places = [self._place(m, c.digest(m)) for m, c in zip(marks, contents, strict=True)]
            # Before anything is written: whatever breaks off, nobody else is given these slots.
            clocks = self._facts.reserve(places)
            marks = [replace(mark, clock=clock) for mark, clock in zip(marks, clocks, strict=True)]
            layouts = [decoded.readings.layout for decoded in reports]
            self._keeping.write(list(zip(marks, layouts, contents, strict=True)))
            kept = {m.name: content.compressed() for m, content in zip(marks, contents, strict=True)}
            digests = {place.mark.name: place.digest for place in places}
            fresh = [d for d in reports if (d.node, d.readings.layout.hash) not in self._told]
            self._facts.settle(kept, digests, _told(commit, fresh))
            self._keeping.wrote(marks, self._clock_s())
            self._told |= {(layout.node, layout.hash) for layout in layouts}

    def schedule(self, told: Mapping[str, Scheduled]) -> None:
        """Merge what is told of jobs with what is known, durably. Raises StoreError with nothing done."""
        self._facts.schedule(told)

    def keeps_from_us(self, now_us: int) -> int | None:
        """Return since when the server keeps samples; None where it does not tell."""
        return None if self._retention_ms is None else now_us - self._retention_ms * 1000

    def rebook(
        self,
        hour: int,
        policy: Policy,
        names: Sequence[Name],
        rows: Sequence[tuple[Mark, Content]],
        accounts: Collection[str],
        clock_us: Callable[[], int],
    ) -> None:
        """Have other rows of some of an hour's Reports count, which change some accounts. Raises StoreError.

        All of them at once, and with the figures of jobs that had ended. What the server took of it until it
        breaks off counts nowhere.
        """
        booking = self._facts.take_booking([mark.name for mark, _ in rows]) if rows else 0
        whole = [
            (
                replace(mark, booking=booking),
                self._known_layout(mark.node, mark.layout),
                replace(content, booking=booking),
            )
            for mark, content in rows
        ]
        self._keeping.write(whole)
        kept = {mark.name: content.compressed() for mark, _, content in whole}
        seen = self._facts.changes()
        were = figures(self, final_jobs(self, accounts))
        with self._writing:
            final = final_jobs(self, accounts)
            if final != were.keys() or self._facts.changes() != seen:
                were = figures(self, final)
            self._facts.rebook(
                Rebooked(hour, policy.value, names, booking, kept, superseded(self, were, clock_us()))
            )
            self._keeping.wrote([mark for mark, _, _ in whole], self._clock_s())

    def look(self) -> None:
        """Let go of what is kept that the server shows. Raises StoreError."""
        with self._writing:
            self._keeping.look(self._clock_s())

    def _place(self, mark: Mark, digest: bytes) -> Place:
        times = slots(mark)
        first, last, now_ms = int(times[0]), int(times[-1]), time.time_ns() // 1_000_000
        # The server drops these without a word.
        if first <= 0 or (self._retention_ms is not None and first < now_ms - self._retention_ms):
            raise BeyondRetentionError(
                f"store {self._server.address.url}: Report of {mark.node} is older than the server keeps "
                "(-retentionPeriod)"
            )
        if last > now_ms + _AHEAD_MS:
            raise BeyondRetentionError(
                f"store {self._server.address.url}: Report of {mark.node} ends further in the future than "
                "the server takes, two days"
            )
        return Place(mark, first, last, digest)

    def _forget_old(self) -> None:
        """Forget the marks of what the server has forgotten."""
        if self._retention_ms is not None and self._clock_s() - self._forgot_s > _FORGET_EVERY_S:
            self._facts.forget(time.time_ns() // 1000 - self._retention_ms * 1000)
            self._forgot_s = self._clock_s()


def _told(commit: Commit, fresh: Sequence[Decoded]) -> Told:
    reports = commit.reports
    jobs, ends, sources = [], [], {}
    for decoded in fresh:
        began_us = decoded.start_us + decoded.realtime_offset_us
        for w in decoded.readings.layout.message.workloads:
            if w.kind == report_pb2.WORKLOAD_KIND_JOB:
                start_us = w.start_unix_us or began_us
                jobs.append(JobRow(job_of(w), decoded.node, w.source, w.name, w.user, start_us, None, None))
    for decoded in reports:
        ends += [(e.workload_id, decoded.node, e.end_unix_us, e.exit_status) for e in decoded.ended]
        for one in decoded.sources:
            sources[decoded.node, one.name] = (int(one.state), one.reason, one.fix)
    layouts = [(d.node, d.readings.layout.hash, d.readings.layout.serialized) for d in fresh]
    revisions = [
        (
            account.removeprefix("job:"),
            (reports[i].node, reports[i].boot, reports[i].start_us),
            commit.unix_us,
        )
        for i, account in commit.late
    ]
    return Told(layouts, jobs, ends, sources, revisions)
