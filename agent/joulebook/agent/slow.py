"""Something that takes long to answer is asked beside the tick, which only takes the newest answer.

A BMC, Redfish, SNMP, JMX, an admin socket, a driver that blocks. Each has a thread of its own, which is begun
with the first question and wakes for questions only; the tick asks when one is due and never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from joulebook.agent.aside import Aside, BlockedError, Pending
from joulebook.agent.asked import Asked, is_timeout
from joulebook.agent.clock import boot_us
from joulebook.agent.mending import fix_of
from joulebook.agent.source import UNREADABLE, WORKING, Finding

T = TypeVar("T")

# After failures in a row a source is asked less often, but one that mends itself is found within a minute.
_LONGEST_WAIT_US = 60_000_000
_MOST_DOUBLINGS = 6

FIX_SLOW = "look whether what it asks is up and answers; the agent goes on asking"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was told, and when on the boot clock: halfway between the question and the answer."""

    value: T
    taken_us: int


class Slow(Generic[T]):
    """Asks one slow thing every period_us. poll() each tick; answer() says what may be believed.

    ask runs in the thread and has to keep to a time-out of its own (of its socket or process). Whatever it
    raises is the reason told; an attribute `fix` of the error is told as what mends it. Longer than
    timeout_us without coming back is a hang: that is told of, and nothing more is asked until it comes back.
    jitter makes each period longer or shorter, by its mean of 1, for what must not keep step with anything.
    missing says why parts of an answer are not there, so that the question counts as one in vain.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], T],
        *,
        period_us: int,
        timeout_us: int,
        stale_periods: int = 3,
        missing: Callable[[T], Exception | None] = lambda _: None,
        jitter: Callable[[], float] = lambda: 1.0,
        clock: Callable[[], int] = boot_us,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.period_us = period_us
        self.timeout_us = timeout_us
        self.stale_us = stale_periods * period_us
        self.fix = ""
        # How long the last answer took.
        self.took_us = 0
        # When it was asked last.
        self.asked_us = 0
        # How often that was, and how often in vain.
        self.asked = Asked()
        # The last answer, however old.
        self.newest: Answer[T] | None = None
        self._ask, self._clock, self._wall_s = ask, clock, wall_s
        self._missing, self._jitter = missing, jitter
        self._aside = Aside(name)
        self._pending: Pending[tuple[T, int, int]] | None = None
        self._due_us = -1
        # The question that is out, or whose answer was taken last, is counted as one in vain already.
        self._is_noted = False
        self._failures = 0
        self._error = ""
        self._stale_since = ""
        self._said = Finding(name, WORKING)

    def poll(self, now_us: int) -> Answer[T] | None:
        """Take what came and ask again where that is due; return the answer that came since the last call."""
        fresh = None
        pending = self._pending
        if pending is not None and pending.done:
            self._pending = None
            fresh = self._take(pending)
        elif pending is not None and now_us - self.asked_us > self.timeout_us:
            self._note(timed_out=True)
        if self._pending is None and now_us >= self._due_us:
            self.asked_us = now_us
            self.asked.count += 1
            self._is_noted = False
            self._due_us = now_us + int(self.period_us * self._jitter())
            self._pending = self._aside.begin(self._timed)
        return fresh

    def answer(self, now_us: int) -> Answer[T] | None:
        """Return the newest answer; None while there is none or it is stale."""
        newest = self.newest
        if newest is None or now_us - newest.taken_us > self.stale_us:
            return None
        self._stale_since = ""
        return newest

    def trouble(self, now_us: int) -> str:
        """Say why there is no fresh answer; "": there is one, or the first is still to come.

        The words stay the same while the trouble does; how long a hang lasts is told in doublings.
        """
        if self.answer(now_us) is not None:
            return ""
        if self._pending is not None and now_us - self.asked_us > self.timeout_us:
            reason = f"has not come back for {doubled_s(now_us - self.asked_us, self.timeout_us):g} s or more"
        elif self._error:
            reason = self._error
        elif self.newest is None:
            return ""
        else:
            reason = "no answer in time"
        if self.newest is None:
            return reason
        if not self._stale_since:
            ago_s = (now_us - self.newest.taken_us) / 1e6
            self._stale_since = time.strftime("%H:%M:%SZ", time.gmtime(self._wall_s() - ago_s))
        return f"stale since {self._stale_since}: {reason}"

    def finding(self, now_us: int, note: str = "") -> tuple[Finding, ...]:
        """Return how the source stands, where that changed since the last call; note: said while it works."""
        trouble = self.trouble(now_us)
        works = Finding(self.name, WORKING, note)
        found = Finding(self.name, UNREADABLE, trouble, self.fix or FIX_SLOW) if trouble else works
        if found == self._said:
            return ()
        self._said = found
        return (found,)

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come, and may: it is not hanging either."""
        return self._pending is not None and self.newest is None and not self._failures and not self._hangs()

    def wait(self, timeout_s: float) -> None:
        """Wait until the question that is out is answered: for who has the time, such as `doctor`."""
        if self._pending is not None:
            self._pending.wait(timeout_s)

    def close(self) -> bool:
        """End the thread; say whether what it asked let it."""
        return self._aside.close()

    def _hangs(self) -> bool:
        return self._clock() - self.asked_us > self.timeout_us

    def _note(self, *, timed_out: bool) -> None:
        """Count the last question as refused or timed out, once."""
        if self._is_noted:
            return
        self._is_noted = True
        if timed_out:
            self.asked.timed_out += 1
        else:
            self.asked.refused += 1

    def _timed(self) -> tuple[T, int, int]:
        began_us = self._clock()
        value = self._ask()
        return value, began_us, self._clock()

    def _take(self, pending: Pending[tuple[T, int, int]]) -> Answer[T] | None:
        try:
            value, began_us, ended_us = pending.result(0)
        except Exception as error:  # whatever a library raises is this source's reason, and no one else's
            self._failures += 1
            self._note(timed_out=is_timeout(error))
            self._error = str(error) or repr(error)
            self.fix = BlockedError.fix if isinstance(error, BlockedError) else fix_of(error)
            doubled_us = self.period_us << min(self._failures - 1, _MOST_DOUBLINGS)
            self._due_us = self.asked_us + max(self.period_us, min(doubled_us, _LONGEST_WAIT_US))
            return None
        if (missing := self._missing(value)) is not None:
            self._note(timed_out=is_timeout(missing))
        self._failures, self._error, self.fix = 0, "", ""
        self.took_us = ended_us - began_us
        self.newest = Answer(value, (began_us + ended_us) // 2)
        return self.newest


def doubled_s(elapsed_us: int, unit_us: int) -> float:
    """Return the largest of 1, 2, 4, … units that has passed, in seconds."""
    return (unit_us << ((elapsed_us // max(unit_us, 1)).bit_length() - 1)) / 1e6
