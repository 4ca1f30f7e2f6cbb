"""How the spool stands, for the node's page and `joulebook doctor`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding
from joulebook.agent.spool import records
from joulebook.agent.spool.directory import Damages, segment_files, sound

NAME = "spool"
# How often the figures of a backlog are told anew, and for how long what went wrong is a worry.
_TELL_AGAIN_US = 60_000_000
_WORRY_US = 3_600_000_000


@dataclass(slots=True)
class Counts:
    """What happened since the agent began."""

    thinned: int = 0
    joined: int = 0
    dropped: int = 0
    refused: int = 0
    damaged: int = 0

    def said(self) -> str:
        """Return the counts that are not 0, in words."""
        counts = (
            (self.thinned, "thinned to energy totals"),
            (self.joined, "joined with their neighbours"),
            (self.dropped, "dropped"),
            (self.refused, "refused by the collector"),
        )
        parts = [f"{count} reports {what}" for count, what in counts if count]
        if self.damaged:
            parts.append(f"{self.damaged} damaged places stepped over")
        return ", ".join(parts)


_FIXES = (
    ("dropped", "bring a collector back, or raise agent.spool_max_bytes and agent.spool_max_age_s"),
    ("refused", "the agent's log says why"),
    ("damaged", "check the disk of agent.spool"),
    ("thinned", "bring a collector back, or raise agent.spool_max_bytes"),
)


class Standing:
    """Tells how the spool stands, when that changes."""

    def __init__(self, counts: Counts, clock: Callable[[], int]) -> None:
        self._counts = counts
        self._clock = clock
        self._seen = Counts()
        self._seen_us = 0
        self._told: Finding | None = None
        self._told_us = 0
        self._trouble = ""

    def is_due(self, trouble: str) -> bool:
        """Return whether it is to be told anew; figures that merely move are told now and then."""
        return (
            self._told is None or trouble != self._trouble or self._clock() - self._told_us >= _TELL_AGAIN_US
        )

    def tell(self, backlog: str, trouble: str) -> tuple[Finding, ...]:
        """Return the finding where it changed."""
        self._told_us, self._trouble = self._clock(), trouble
        if self._counts != self._seen:
            self._seen, self._seen_us = replace(self._counts), self._told_us
        found = self._finding(backlog, trouble)
        if found == self._told:
            return ()
        self._told = found
        return (found,)

    def _finding(self, backlog: str, trouble: str) -> Finding:
        said = self._counts.said()
        if trouble:
            reason = _joined(f"{trouble}; reports are kept in memory", backlog, said)
            return Finding(NAME, SUSPECT, reason, "free or mend the disk of agent.spool")
        fix = next((fix for name, fix in _FIXES if getattr(self._counts, name)), "")
        # What is over stays told, but is a worry no more.
        worry = fix and (backlog or self._told_us - self._seen_us < _WORRY_US)
        return Finding(NAME, SUSPECT if worry else WORKING, _joined(backlog, said), fix if worry else "")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def backlog(reports: int, size_bytes: int, age_us: int) -> str:
    """Say what waits."""
    return f"{reports} reports wait ({size_bytes / 1e6:.1f} MB, the oldest for {age_us / 3.6e9:.1f} h)"


def look(directory: Path | None) -> Finding:
    """Return how a directory stands, read as it is, whichever agent uses it."""
    if directory is None:
        return Finding(NAME, WORKING, "in memory only: what is not delivered is lost with the agent")
    try:
        files = segment_files(directory) if directory.is_dir() else []
        waiting, size_bytes, damages = 0, 0, Damages()
        for _, path in files:
            data = path.read_bytes()
            size_bytes += len(data)
            waiting += sum(
                record.state is not records.State.DONE for record, _ in sound(data, {}, path, damages)
            )
    except (OSError, records.VersionError) as error:
        return Finding(
            NAME, UNREADABLE, f"{directory}: {error}", "run as the agent's user, or name another agent.spool"
        )
    said = f"{directory}: {waiting} reports wait ({size_bytes / 1e6:.1f} MB)"
    if damages.places:
        return Finding(
            NAME, SUSPECT, f"{said}; {damages.places} damaged places", "check the disk of agent.spool"
        )
    return Finding(NAME, WORKING, said)
