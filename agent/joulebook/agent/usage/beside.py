"""What is told beside the tick of devices that come and go: mounts, ports, daemons that serve storage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from joulebook.agent.asked import Asked
from joulebook.agent.clock import boot_us
from joulebook.agent.counters import Counters, S, Trouble
from joulebook.agent.slow import Answer, Slow
from joulebook.agent.source import (
    ABSENT,
    UNREADABLE,
    WORKING,
    Device,
    Finding,
    Metric,
    Probe,
    Series,
)
from joulebook.v1.catalogue import catalogue

# How often it is looked whether there is anything to ask, while there is not.
_LOOK_US = 30 * S
# More devices of one kind than any node has; what bounds a damaged or hostile answer.
_MOST_DEVICES = 256
_MOST_NAME = 200
_MOST_TOLD = 4
# A reason may quote what was read.
_MOST_REASON = 300
# Any counter of these sources, a second: a terabyte, a billion requests, a million requests in flight.
_MOST = {"By": 10**12, "1": 10**9, "us": 10**6 * S}
_MOST_LEVEL = 1 << 60


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one device: counters as they stand there, and levels."""

    device: Device
    values: dict[Metric, int]


class Unread(NamedTuple):
    """A part that could not be read, why, and what mends it."""

    name: str
    reason: str
    fix: str = ""
    timed_out: bool = False


class UnreadError(OSError):
    """Nothing could be read; fix says what mends it."""

    def __init__(self, parts: Sequence[Unread]) -> None:
        super().__init__("; ".join(f"{part.name}: {part.reason}" for part in parts[:_MOST_TOLD]))
        self.fix = "; ".join(dict.fromkeys(part.fix for part in parts if part.fix))
        self.timed_out = any(part.timed_out for part in parts)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was told of all devices, and what could not be read."""

    told: tuple[Told, ...]
    unread: tuple[Unread, ...] = ()


def answered(told: Sequence[Told], unread: Sequence[Unread]) -> Answered:
    """Return an answer. UnreadError: of all that was asked nothing was told."""
    if unread and not told:
        raise UnreadError(unread)
    return Answered(tuple(told), tuple(unread))


class Asker(Protocol):
    """Something that is asked beside the tick. absent: what is said where it is not there."""

    name: str
    absent: str

    def is_there(self) -> bool:
        """Say whether there is anything to ask. Looked at in the tick: must be quick and never block.

        OSError: something is there that may not be looked at.
        """

    def ask(self) -> Answered:
        """Ask, in a thread; keep to time-outs. What it raises is told as the reason."""


def device_name(text: str) -> str:
    """Make a device's name of any text: printable ASCII, as long as a store takes."""
    name = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text).strip()
    return name[:_MOST_NAME] or "?"


class _Part:
    """One device: its series in the order of its metrics, counters before levels."""

    def __init__(self, source: str, told: Told) -> None:
        self.device = told.device
        self.trouble = Trouble(f"{source}:{told.device.name}")
        entries = catalogue()
        metrics = sorted(told.values)
        self._counted = [metric for metric in metrics if entries[metric].is_counter]
        self._levels = [metric for metric in metrics if not entries[metric].is_counter]
        self._counters = Counters(self.trouble, [_MOST[entries[metric].unit] for metric in self._counted])
        self._level = (0,) * len(self._levels)
        self.metrics: tuple[Metric, ...] = (*self._counted, *self._levels)

    @property
    def values(self) -> tuple[int, ...]:
        """Return one value a metric."""
        return (*self._counters.values, *self._level)

    def take(self, told: Told, now_us: int) -> None:
        """Take an answer about this device; what cannot be is dropped and counted."""
        if self._counted:
            self._counters.take(tuple(told.values[metric] for metric in self._counted), now_us)
        levels = tuple(told.values[metric] for metric in self._levels)
        if all(0 <= level <= _MOST_LEVEL for level in levels):
            self._level = levels
        else:
            self.trouble.add(f"levels {levels}: expected 0 to {_MOST_LEVEL}", now_us)

    def fits(self, told: Told) -> bool:
        """Say whether an answer is of the same device and metrics."""
        return self.device == told.device and set(self.metrics) == set(told.values)


class Beside:
    """A source that takes the newest answer of its asker; devices come and go with the answers.

    A stale answer is not repeated: its devices leave until there is a fresh one. The start waits patience_s
    for the first answer, so that a single reading (`agent --once`) has it.
    """

    def __init__(
        self,
        asker: Asker,
        *,
        period_us: int,
        timeout_us: int,
        patience_s: float = 0.0,
        clock: Callable[[], int] = boot_us,
    ) -> None:
        self._patience_s = patience_s
        self.name = asker.name
        self._asker = asker
        self._clock = clock
        self._slow: Slow[Answered] = Slow(
            asker.name,
            asker.ask,
            period_us=period_us,
            timeout_us=timeout_us,
            missing=lambda answer: UnreadError(answer.unread) if answer.unread else None,
            clock=clock,
        )
        self._is_there = False
        self._look_us = 0
        self._shown: list[_Part] = []
        # What is there now, where that is not what is shown.
        self._next: list[_Part] | None = None
        # Parts that could not be read, as the newest answer has them, and what was said of them.
        self._unread: dict[str, Finding] = {}
        self._said: dict[str, Finding] = {}
        self._now_us = 0

    def probe(self) -> Probe:
        """Look whether there is anything, and wait as long as patience goes for the first answer."""
        now_us = self._clock()
        self._look(now_us)
        if not self._is_there:
            return Probe(findings=(Finding(self.name, ABSENT, self._asker.absent),))
        self._slow.poll(now_us)
        self._slow.wait(self._patience_s)
        self.read(self._clock())
        return self.changed() or Probe(findings=self.findings() or (Finding(self.name, WORKING),))

    def read(self, now_us: int) -> Sequence[int]:
        """Return the values of the devices that are shown."""
        self._now_us = now_us
        if now_us >= self._look_us:
            self._look(now_us)
        if self._is_there:
            fresh = self._slow.poll(now_us)
            if fresh is not None:
                self._take(fresh)
            elif (self._shown or self._next) and self._slow.answer(now_us) is None:
                self._next = []
        elif self._shown:
            self._next = []
        return [value for part in self._shown for value in part.values]

    def changed(self) -> Probe | None:
        """Return what there is now, where that changed."""
        if self._next is None:
            return None
        self._shown, self._next = self._next, None
        findings = self.findings()
        if not findings and not self._slow.trouble(self._now_us):
            findings = (Finding(self.name, WORKING, self._names()),)
        return Probe(
            series=tuple(
                Series(metric, device=part.device.name) for part in self._shown for metric in part.metrics
            ),
            devices=tuple(part.device for part in self._shown),
            findings=findings,
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return what cannot be had or was dropped, where that is news."""
        now_us = self._now_us
        told = list(self._slow.finding(now_us)) if self._is_there else []
        troubles = [part.trouble for part in self._shown]
        told += [finding for trouble in troubles if (finding := trouble.finding(now_us)) is not None]
        if self._unread != self._said:
            told += [finding for name, finding in self._unread.items() if self._said.get(name) != finding]
            told += [Finding(name, WORKING) for name in self._said if name not in self._unread]
            self._said = self._unread
        return tuple(told)

    def asked(self) -> tuple[str, Asked] | None:
        """Return how often it was asked; None where there is nothing to ask."""
        return (self.name, self._slow.asked) if self._is_there or self._slow.asked.count else None

    def is_waiting(self) -> bool:
        """Say whether the first answer is still to come."""
        return self._is_there and self._slow.is_waiting()

    def wait(self, timeout_s: float) -> None:
        """Wait until the question that is out is answered: for who has the time."""
        self._slow.wait(timeout_s)

    def close(self) -> None:
        """End the thread."""
        self._slow.close()

    def _names(self) -> str:
        names = [part.device.name for part in self._shown]
        more = len(names) - _MOST_TOLD
        return ", ".join(names[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")

    def _look(self, now_us: int) -> None:
        self._look_us = now_us + _LOOK_US
        try:
            self._is_there = self._asker.is_there()
        except OSError:
            # Something is there that may not be looked at: asking tells why.
            self._is_there = True

    def _take(self, answer: Answer[Answered]) -> None:
        now_us = answer.taken_us
        self._unread = {
            (name := f"{self.name}:{device_name(one.name)}"): Finding(
                name, UNREADABLE, one.reason[:_MOST_REASON], one.fix
            )
            for one in answer.value.unread[:_MOST_DEVICES]
        }
        by_name = {part.device.name: part for part in (self._next if self._next is not None else self._shown)}
        parts: dict[str, _Part] = {}
        for told in answer.value.told[:_MOST_DEVICES]:
            part = by_name.get(told.device.name)
            if part is None or not part.fits(told):
                part = _Part(self.name, told)
            part.take(told, now_us)
            parts.setdefault(told.device.name, part)
        found = list(parts.values())
        if found != self._shown:
            self._next = found
        else:
            self._next = None
