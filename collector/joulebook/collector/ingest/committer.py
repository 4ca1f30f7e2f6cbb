"""Books Reports and makes them durable, many at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.finals import Finals
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.collector.ingest.sequence import Placement, Sequencer
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ingest.values import refusals
from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.store.protocol import (
    BeyondRetentionError,
    Commit,
    LinesRefusedError,
    Store,
    StoreError,
)

_log = logging.getLogger(__name__)

# As many as one transaction takes without holding the first one's acknowledgement back for long.
_MOST_IN_A_COMMIT = 4096
# A transaction costs nearly the same for few Reports and for many. Its share of the time, and how long that
# may hold an acknowledgement back.
_COMMITTING, _LONGEST_REST_S = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a Report."""

    code: grpc.StatusCode
    message: str = ""
    duplicate: bool = False


def _too_old(error: BeyondRetentionError) -> RefusalError:
    return RefusalError(grpc.StatusCode.FAILED_PRECONDITION, str(error))


Answer = Callable[[Outcome], None]
_DONE = Outcome(grpc.StatusCode.OK)
_AGAIN = Outcome(grpc.StatusCode.OK, duplicate=True)


class Committer:
    """Takes decoded Reports, and answers each once it is durable or refused.

    Everything that is waiting when a commit begins goes into it; the slower commits are, the more is gathered
    for the next. submit() waits while the queue is full: that
    is the back-pressure which reaches the agents through their streams.
    """

    def __init__(
        self,
        store: Store,
        stats: IngestStats,
        *,
        policy: Policy = Policy.RESERVED,
        commit_interval_s: float = 0.1,
        queue_reports: int = 8192,
        booked: Callable[[Sequence[Decoded], Books], None] = lambda _reports, _books: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._stats = stats
        self._policy = policy
        self._commit_interval_s = commit_interval_s
        self._booked = booked
        self._clock_ns, self._wall_clock_ns = clock_ns, wall_clock_ns
        self._queue: asyncio.Queue[tuple[Decoded, Answer]] = asyncio.Queue(queue_reports)
        self._sequencer: Sequencer | None = Sequencer(store.tails())
        self._finals = Finals()
        self._since_ns: int | None = None
        self._rest_s = 0.0

    @property
    def busy_s(self) -> float:
        """Return how long the commit that is under way has taken; 0 where none is."""
        return 0.0 if self._since_ns is None else (self._clock_ns() - self._since_ns) / 1e9

    def meet(self, node: str) -> None:
        """Take note that a node begins to send: it may have sent to another collector of the same store."""
        if self._store.shared:
            self._finals.meet(node)

    async def submit(self, decoded: Decoded, answer: Answer) -> None:
        """Take a Report in; answer is called from the event loop when its fate is known."""
        self._stats.heard_us[decoded.node] = self._wall_clock_ns() // 1000
        await self._queue.put((decoded, answer))

    async def run(self) -> None:
        """Commit until cancelled. What had been taken in when that happens is committed first."""
        cancelled: asyncio.CancelledError | None = None
        while cancelled is None:
            waiting = [await self._queue.get()]
            try:
                await asyncio.sleep(max(self._commit_interval_s, min(self._rest_s, _LONGEST_REST_S)))
            except asyncio.CancelledError as error:
                cancelled = error
            while len(waiting) < _MOST_IN_A_COMMIT and not self._queue.empty():
                waiting.append(self._queue.get_nowait())
            commit = asyncio.ensure_future(self._commit(waiting))
            try:
                await asyncio.shield(commit)
            except asyncio.CancelledError as error:
                await commit
                cancelled = error
        raise cancelled

    async def _commit(self, waiting: list[tuple[Decoded, Answer]]) -> None:
        reports = [decoded for decoded, _ in waiting]
        began = self._since_ns = self._clock_ns()
        try:
            placement = await asyncio.to_thread(self.apply, reports)
        except LinesRefusedError as error:
            # Whose lines they are is not told; they must not keep the others' from being stored.
            if not await self._each_alone(waiting):
                self._stats.refused_lines += error.lines
                self._unavailable(error, waiting)
            return
        except StoreError as error:
            self._unavailable(error, waiting)
            return
        except Exception as error:
            # A Report that gets past the checks and cannot be booked all the same is a fault of ours. It must
            # not take the others with it: each is tried alone.
            if await self._each_alone(waiting):
                return
            self._stats.failed_commits += 1
            self._stats.refused[grpc.StatusCode.INTERNAL.name] += 1
            _log.exception("report %d of %s cannot be booked", reports[0].start_us, reports[0].node)
            waiting[0][1](
                Outcome(grpc.StatusCode.INTERNAL, f"cannot be booked: {type(error).__name__}: {error}")
            )
            return
        finally:
            self._since_ns = None
        took_ns = self._clock_ns() - began
        self._stats.commits += 1
        self._stats.commit_us += took_ns // 1000
        self._rest_s = took_ns / 1e9 / _COMMITTING
        for i in placement.new:
            waiting[i][1](_DONE)
        for i in placement.duplicate:
            waiting[i][1](_AGAIN)
        for i, refusal in placement.refused.items():
            self._stats.refused[refusal.code.name] += 1
            _log.warning("report of %s refused: %s", reports[i].node, refusal.message)
            waiting[i][1](Outcome(refusal.code, refusal.message))
        for i in placement.conflict:
            self._stats.refused[grpc.StatusCode.ALREADY_EXISTS.name] += 1
            waiting[i][1](
                Outcome(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"sequence {reports[i].start_us}: overlaps another Report of {reports[i].node}; "
                    "are two agents running there?",
                )
            )

    async def _each_alone(self, waiting: list[tuple[Decoded, Answer]]) -> bool:
        """Commit each of several Reports apart; say whether there were several."""
        if len(waiting) > 1:
            for one in waiting:
                await self._commit([one])
        return len(waiting) > 1

    def _unavailable(self, error: StoreError, waiting: list[tuple[Decoded, Answer]]) -> None:
        self._stats.failed_commits += 1
        _log.error("%s; agents keep their Reports and send them again", error)
        for _, answer in waiting:
            answer(Outcome(grpc.StatusCode.UNAVAILABLE, str(error)))

    def apply(self, reports: list[Decoded]) -> Placement:
        """Book and store a batch in one transaction. Raises StoreError, and what faults of ours raise."""
        if self._sequencer is None:
            self._sequencer = Sequencer(self._store.tails())
        try:
            return self._apply(self._sequencer, reports, refusals(reports))
        except Exception:
            # Whatever it was, it may be durable: what is stored is asked for anew, or it is booked twice.
            self._sequencer, self._finals = None, Finals()
            raise

    def _apply(
        self, sequencer: Sequencer, reports: list[Decoded], refused: dict[int, RefusalError]
    ) -> Placement:
        placement = sequencer.place(reports, self._store.spans, refused)
        new = [reports[i] for i in placement.new]
        if new:
            books = book([d.readings for d in new], self._policy)
            judgement = self._finals.judge(self._store, new, books)
            now_us = self._wall_clock_ns() // 1000
            try:
                self._store.commit(
                    Commit(new, books, placement.gaps, placement.filled, judgement.late, now_us)
                )
            except BeyondRetentionError as error:
                if not (places := error.places or range(len(new) == 1)):
                    raise
                # They must not take the others with them.
                old = {placement.new[i] for i in places}
                return self._apply(sequencer, reports, refused | dict.fromkeys(old, _too_old(error)))
            residual_uj = int(abs(books.residual_uj).sum())
            if residual_uj:
                off = [new[i].node for i in books.residual_uj.nonzero()[0].tolist()]
                _log.critical(
                    "books of %s do not balance: %d µJ off", ", ".join(sorted(set(off))), residual_uj
                )
            self._stats.residual_uj += residual_uj
            self._stats.booked_uj += int(books.active_uj.sum() + books.idle_uj.sum())
            self._stats.samples += sum(d.readings.values[:, 1:].size for d in new)
            self._finals.accept(judgement)
            self._booked(new, books)
        sequencer.accept(placement)
        self._stats.reports += len(new)
        self._stats.duplicates += len(placement.duplicate)
        return placement
