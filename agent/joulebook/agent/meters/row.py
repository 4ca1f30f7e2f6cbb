"""GPUs that one thread asks, one after another: who reads them waits so long and no longer.

A thread a GPU would cost its waking up and going to sleep at every tick.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

from joulebook.agent.aside import BlockedError
from joulebook.agent.patience import Patience

_log = logging.getLogger(__name__)

K = TypeVar("K")

_JOIN_S = 1.0
# Who has not come back for so long hangs. A tick does not wait for that: see Moment.
HANGS_S = 0.25


class Moment:
    """A tick at which all are asked. Who answers later than the tick waits, answers of a later time."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self._began_s = time.monotonic()

    def us(self) -> int:
        """Return the time that it is now, on the tick's clock."""
        return self.now_us + int((time.monotonic() - self._began_s) * 1e6)


class Job(Generic[K]):
    """A question to every GPU of a row. What each gave, or raised, is kept by the one who asks."""

    def __init__(self, ask: Callable[[K], None], *, may_break_off: bool = False) -> None:
        self.ask = ask
        self.may_break_off = may_break_off
        self.is_done = False
        # A lock is what an event is made of, and all that one who waits needs.
        self._done = threading.Lock()
        self._done.acquire()

    def end(self) -> None:
        """Say that all were asked."""
        self.is_done = True
        self._done.release()

    def wait(self, wait_s: float) -> None:
        """Wait until all were asked, so long at most; one waits for a job, once."""
        self._done.acquire(timeout=max(0.0, wait_s))


class Row(Generic[K]):
    """One thread and the GPUs that it asks. A GPU that hangs is left to the thread: see parted()."""

    def __init__(
        self,
        name: str,
        members: Sequence[K],
        before: Callable[[], None] = lambda: None,
        hangs_s: float = HANGS_S,
    ) -> None:
        """Keep members in the order in which they are asked. before() is called ahead of each reading."""
        self.members = tuple(members)
        self._name = name
        self._hangs_s = hangs_s
        self._before = before
        self._jobs: SimpleQueue[Job[K] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Job[K] | None = None
        self._followed: Job[K] | None = None
        # Whom the thread asks, and since when; in a hurry somebody waits who may not wait for gauges.
        self._asked: K | None = None
        self._asked_s = 0.0
        self._hurry = False
        self._turn = 0

    @property
    def away(self) -> bool:
        """Say whether the thread has not come back from what it was asked last."""
        return self._last is not None and not self._last.is_done

    @property
    def follows(self) -> bool:
        """Say whether what was to follow is still to be done."""
        return self._followed is not None and not self._followed.is_done

    @property
    def hangs(self) -> bool:
        """Say whether the thread has waited for one GPU for so long that it hangs."""
        return self._asked is not None and time.monotonic() - self._asked_s > self._hangs_s

    def hangs_at(self, member: K) -> bool:
        """Say whether that is this GPU."""
        return self._asked == member and self.hangs

    def blocked(self) -> BlockedError:
        """Return the error that says how long the driver has been away."""
        return BlockedError(f"the driver has not answered for {time.monotonic() - self._asked_s:.1f} s")

    def begin(self, ask: Callable[[K], None]) -> Job[K]:
        """Begin to ask every member."""
        job = Job(ask)
        self._put(job)
        self._last = job
        return job

    def hurry(self) -> None:
        """Have what nobody waits for break off."""
        self._hurry = True

    def follow(self, ask: Callable[[K], None]) -> Job[K]:
        """Have every member asked after all that was begun; nobody waits for it."""
        job = self._followed = Job(ask, may_break_off=True)
        self._put(job)
        return job

    def parted(self) -> Row[K] | None:
        """Leave a thread that hangs with the GPU that it waits for; return a row of the others."""
        asked = self._asked
        if asked is None or len(self.members) < 2 or not self.hangs:
            return None
        others = tuple(member for member in self.members if member is not asked)
        self.members = (asked,)
        before, self._before = self._before, lambda: None
        return Row(self._name, others, before, self._hangs_s)

    def close(self) -> bool:
        """End the thread; say whether the driver let it."""
        if self._thread is None:
            return True
        self._hurry = True
        self._put(None)
        self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _put(self, job: Job[K] | None) -> None:
        if self._thread is None:
            # A daemon: a driver that hangs must not keep the agent from ending.
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.may_break_off:
                self._hurry = False
            else:
                if self._jobs.empty():
                    self._hurry = False
                self._asked_s = time.monotonic()
                self._before()
            members = self.members
            # What broke off goes on where it stood, so that nobody is left out for ever.
            first = self._turn % len(members) if job.may_break_off else 0
            for member in members[first:] + members[:first]:
                # While it waited for one of them the others were parted from it.
                if member not in self.members:
                    continue
                self._asked_s = time.monotonic()
                self._asked = member
                try:
                    job.ask(member)
                except Exception:
                    # Whatever the bindings do, the other GPUs are asked on.
                    _log.exception("%s: a question failed in a way that is not known", self._name)
                if job.may_break_off:
                    self._turn += 1
                    if self._hurry:
                        break
            self._asked = None
            job.end()


class Rows(Generic[K]):
    """All GPUs: one row while all answer; whoever hangs is asked alone from then on."""

    def __init__(
        self,
        name: str,
        members: Sequence[K],
        before: Callable[[], None] = lambda: None,
        hangs_s: float = HANGS_S,
    ) -> None:
        self._rows = [Row(name, members, before, hangs_s)] if members else []

    @property
    def hang(self) -> bool:
        """Say whether any thread hangs."""
        return any(row.hangs for row in self._rows)

    def hangs(self, member: K) -> bool:
        """Say whether the thread that asks this GPU hangs at it."""
        for row in self._rows:  # noqa: SIM110  (asked for every GPU at every tick: three times as fast)
            if row.hangs_at(member):
                return True
        return False

    def begin(self, *asks: Callable[[K], None]) -> list[list[Job[K]]]:
        """Begin to ask every GPU whose thread is not away, one thing after another; return the jobs of each.

        What was to follow before is done first.
        """
        # The others may not go short of their readings for the one that hangs.
        self._rows += [others for row in self._rows if (others := row.parted()) is not None]
        free = [row for row in self._rows if not row.away]
        return [[row.begin(ask) for row in free] for ask in asks]

    def ask(self, ask: Callable[[K], None], wait_s: float) -> None:
        """Begin to ask them, and wait so long for all of them together."""
        (jobs,) = self.begin(ask)
        self.hurry_for(jobs, wait_s)

    def hurry_for(self, jobs: Sequence[Job[K]], wait_s: float) -> None:
        """Wait for them as for what may not wait for what was to follow before."""
        if not all(job.is_done for job in jobs):
            for row in self._rows:
                row.hurry()
        self.wait(jobs, wait_s)

    def wait(self, jobs: Sequence[Job[K]], wait_s: float) -> None:
        """Wait so long for all of them together."""
        patience = Patience(wait_s)
        for job in jobs:
            job.wait(patience.left_s)

    def blocked(self, member: K) -> BlockedError:
        """Return what says how long a GPU that has not answered has been away."""
        return next(row for row in self._rows if member in row.members).blocked()

    def follow(self, ask: Callable[[K], None]) -> None:
        """Have every GPU asked after that, unless the last such question is still out; nobody waits."""
        for row in self._rows:
            if not row.follows:
                row.follow(ask)

    def close(self) -> bool:
        """End the threads; say whether the driver let them."""
        ended = [row.close() for row in self._rows]
        return all(ended)
