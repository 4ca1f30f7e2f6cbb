"""How long a meter of a domain has been out of order, and whether that is long enough to act."""

from __future__ import annotations

from joulebook.agent.source import SUSPECT, UNREADABLE, Domain, Finding
from joulebook.v1 import report_pb2

# A counter that is missed loses nothing for this long: it goes on where it was. A gauge does.
_COUNTER_PATIENCE_US = 60_000_000
_PATIENCE_US = 10_000_000
# What was out of order must be in order for this long before it is trusted again.
_TRUST_US = 60_000_000


def patience_us(domain: Domain) -> int:
    """Return how long a domain's meter may be silent before another takes over."""
    return _COUNTER_PATIENCE_US if domain.kind == report_pb2.SOURCE_KIND_COUNTER else _PATIENCE_US


class Standing:
    """What was found of one meter of a domain; acted on when it lasts."""

    def __init__(self, silence_us: int) -> None:
        self._silence_us = silence_us
        self._since_us = 0
        self._bad: Finding | None = None
        # As it is acted on.
        self.off_ppm = 0
        self.out = False

    def take(self, finding: Finding, now_us: int) -> None:
        """Take what was found."""
        bad = finding if finding.state in (SUSPECT, UNREADABLE) else None
        if bad is not None and bad.state == SUSPECT and not bad.off_ppm:
            # A reading was dropped, and nothing with it.
            bad = None
        if (bad and bad.state) != (self._bad and self._bad.state):
            self._since_us = now_us
        self._bad = bad

    def judge(self, now_us: int) -> bool:
        """Settle what is acted on; say whether there is anything to watch."""
        lasted_us = now_us - self._since_us
        if self._bad is None:
            if lasted_us >= _TRUST_US:
                self.off_ppm, self.out = 0, False
        elif self._bad.state == UNREADABLE:
            self.out = self.out or lasted_us >= self._silence_us
        elif lasted_us >= _PATIENCE_US:
            self.off_ppm, self.out = self._bad.off_ppm, False
        return self._bad is not None or self.out or self.off_ppm > 0
