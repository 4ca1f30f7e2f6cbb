"""The task that asks a scheduler about jobs in the books, beside ingest and never in its way."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from joulebook.collector.schedulers.source import Kind, NoAnswerError, Source
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.presence import running_jobs
from joulebook.collector.store.protocol import Store, StoreError

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Of one round.
_MOST = 2000
# What nobody knows is asked about ever less often.
_RAREST_US = 86_400_000_000


class Asking:
    """Asks about jobs that nothing is known of, and those that ended only in the books."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        source: Source,
        period_s: float,
        stats: SchedulerStats,
        wall_clock_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._kind = kind
        self._source = source
        self._period_s = period_s
        self._stats = stats
        self._wall_clock_us = wall_clock_us
        # Jobs that nobody knew: how often in a row, and when they are asked about again.
        self._unknown: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Ask every period until cancelled; whatever goes wrong, energy is booked without it."""
        while True:
            try:
                await self.ask()
            except (NoAnswerError, StoreError) as error:
                self._failed(str(error))
            except Exception:
                _log.exception(
                    "asking %s failed; jobs are booked under their ids, it is tried again", self._kind.name
                )
                self._failed("")
            await asyncio.sleep(self._period_s)

    async def ask(self) -> int:
        """Ask once; return of how many jobs something was told. Raises NoAnswerError or StoreError."""
        wanted = await _finished(self._wanted)
        numbers, told_jobs = list(wanted), 0
        for begin in range(0, len(numbers), self._source.at_once):
            asked = numbers[begin : begin + self._source.at_once]
            found = await self._source.jobs(asked)
            told = {job: one for number, one in found.items() for job in wanted[number]}
            if told:
                await _finished(partial(self._store.schedule, told))
            # What is known stays known, whatever becomes of the next question.
            self._remember([job for number in asked for job in wanted[number]], told)
            told_jobs += len(told)
            self._stats.told_jobs += len(told)
        if numbers:
            if self._stats.working is not True:
                _log.info("%s answers: told of %d of %d jobs", self._kind.name, told_jobs, len(wanted))
            self._stats.working = True
        return told_jobs

    def _wanted(self) -> Mapping[str, Sequence[str]]:
        """Return the jobs that there is something to ask about, by their scheduler's number of them."""
        with self._store.snapshot() as frozen:
            running = running_jobs(frozen)
            newest = {row.job for row in frozen.newest_jobs(JobsAsked(most=_MOST))}
            numbers = {
                job: found["number"] for job in running | newest if (found := self._kind.job.match(job))
            }
            jobs = sorted(numbers)
            known = frozen.scheduled(jobs)
        now_us = self._wall_clock_us()
        self._unknown = {job: when for job, when in self._unknown.items() if job in jobs}
        wanted: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            told = known.get(job)
            open_ = told is None or not told.state or (told.end_us is None) != (job in running)
            open_ = open_ or (told is not None and told.state.partition(" ")[0] in self._kind.passing)
            if open_ and self._unknown.get(job, (0, 0))[1] <= now_us and len(wanted) < _MOST:
                wanted[numbers[job]].append(job)
        return wanted

    def _remember(self, asked: Sequence[str], told: Collection[str]) -> None:
        now_us, period_us = self._wall_clock_us(), int(self._period_s * 1_000_000)
        for job in asked:
            if job in told:
                self._unknown.pop(job, None)
            else:
                times = self._unknown.get(job, (0, 0))[0] + 1
                later_us = min(period_us << min(times, 40), _RAREST_US)
                self._unknown[job] = (times, now_us + later_us)

    def _failed(self, why: str) -> None:
        self._stats.failures += 1
        if self._stats.working is not False and why:
            _log.warning("%s: %s; jobs are booked under their ids, it is tried again", self._kind.name, why)
        self._stats.working = False


async def _finished(work: Callable[[], T]) -> T:
    """Do work on the store in a thread, and wait for it whatever happens: then the store may be closed."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
