"""The task that asks Slurm about jobs in the books, beside ingest and never in its way."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from joulebook.collector.schedulers.command import CommandError, RefusedError, answer_of
from joulebook.collector.schedulers.config import SlurmConfig
from joulebook.collector.schedulers.slurm import environment, parse_jobs, sacct_command, squeue_command
from joulebook.collector.schedulers.stats import SchedulerStats
from joulebook.collector.store.jobs_asked import JobsAsked
from joulebook.collector.store.presence import running_jobs
from joulebook.collector.store.protocol import Store, StoreError
from joulebook.collector.store.scheduled import Scheduled

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Of one command, and of one round.
_AT_ONCE = 500
_MOST = 2000
# What nobody knows is asked about ever less often.
_RAREST_US = 86_400_000_000
# The second of two slurmd on a host that run the same job is booked as slurm.N.2.
_JOB = re.compile(r"slurm\.(?P<number>[0-9]+)(?:\.[0-9]+)?\Z")
# What they say where there is nothing of it: an answer all the same.
_NO_SUCH_JOB = "Invalid job id specified"
_NO_ACCOUNTING = "accounting storage is disabled"


class SlurmAsking:
    """Asks about jobs of which nothing is known, and about those that ended in the books and not in Slurm."""

    def __init__(
        self, store: Store, config: SlurmConfig, stats: SchedulerStats, wall_clock_us: Callable[[], int]
    ) -> None:
        self._store = store
        self._config = config
        self._stats = stats
        self._wall_clock_us = wall_clock_us
        self._environ = environment(config.slurm_conf)
        # Jobs that nobody knew: how often in a row, and when they are asked about again.
        self._unknown: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Ask every period until cancelled; whatever goes wrong, energy is booked without it."""
        while True:
            try:
                await self.ask()
            except (CommandError, StoreError) as error:
                self._failed(str(error))
            except Exception:
                _log.exception("asking Slurm failed; jobs are booked under their ids, it is tried again")
                self._failed("")
            await asyncio.sleep(self._config.period_s)

    async def ask(self) -> int:
        """Ask once; return of how many jobs something was told. Raises CommandError or StoreError."""
        wanted = await _finished(self._wanted)
        numbers = list(wanted)
        found: dict[str, Scheduled] = {}
        for begin in range(0, len(numbers), _AT_ONCE):
            found |= await self._answer(numbers[begin : begin + _AT_ONCE])
        told = {job: one for number, one in found.items() for job in wanted[number]}
        if told:
            await _finished(lambda: self._store.schedule(told))
        self._remember(wanted, told)
        self._stats.told_jobs += len(told)
        if numbers:
            if self._stats.working is not True:
                _log.info("Slurm answers: told of %d of %d jobs", len(told), len(wanted))
            self._stats.working = True
        return len(told)

    def _wanted(self) -> Mapping[str, Sequence[str]]:
        """Return the jobs that there is something to ask about, by Slurm's number of them."""
        with self._store.snapshot() as frozen:
            running = running_jobs(frozen)
            newest = {row.job for row in frozen.newest_jobs(JobsAsked(most=_MOST))}
            jobs = sorted(job for job in running | newest if _JOB.match(job))
            known = frozen.scheduled(jobs)
        now_us = self._wall_clock_us()
        self._unknown = {job: when for job, when in self._unknown.items() if job in jobs}
        wanted: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            told = known.get(job)
            open_ = told is None or not told.state or (told.end_us is None) != (job in running)
            if open_ and self._unknown.get(job, (0, 0))[1] <= now_us and len(wanted) < _MOST:
                number = _JOB.match(job)
                assert number is not None
                wanted[number["number"]].append(job)
        return wanted

    async def _answer(self, numbers: Sequence[str]) -> dict[str, Scheduled]:
        config, mark = self._config, f"|{secrets.token_hex(16)}|"
        found = await self._said(squeue_command(config.squeue, numbers, mark), mark, numbers, _NO_SUCH_JOB)
        if config.sacct and (gone := [number for number in numbers if number not in found]):
            found |= await self._said(sacct_command(config.sacct, gone, mark), mark, gone, _NO_ACCOUNTING)
        return found

    async def _said(
        self, command: Sequence[str], mark: str, numbers: Sequence[str], nothing: str
    ) -> dict[str, Scheduled]:
        self._stats.questions += 1
        try:
            said = await answer_of(command, self._environ, self._config.timeout_s)
            return parse_jobs(said, mark, frozenset(numbers), self._wall_clock_us())
        except RefusedError as error:
            if nothing in error.said:
                return {}
            raise
        except ValueError as error:
            raise CommandError(f"{command[0]}: said what it never says ({error})") from error

    def _remember(self, wanted: Mapping[str, Sequence[str]], told: Mapping[str, Scheduled]) -> None:
        now_us, period_us = self._wall_clock_us(), int(self._config.period_s * 1_000_000)
        for job in (job for jobs in wanted.values() for job in jobs):
            if job in told:
                self._unknown.pop(job, None)
            else:
                times = self._unknown.get(job, (0, 0))[0] + 1
                later_us = min(period_us << min(times, 40), _RAREST_US)
                self._unknown[job] = (times, now_us + later_us)

    def _failed(self, why: str) -> None:
        self._stats.failures += 1
        if self._stats.working is not False and why:
            _log.warning("Slurm: %s; jobs are booked under their ids, it is tried again", why)
        self._stats.working = False


async def _finished(work: Callable[[], T]) -> T:
    """Do work on the store in a thread, and wait for it whatever happens: then the store may be closed."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
