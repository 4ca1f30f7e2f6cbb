"""Say how each domain's meter fares, once a change."""

from collections import deque
from dataclasses import dataclass, field

from joulebook.agent.mending import FIX_DEVICE
from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding

# What runs an agent draws power: a counter of such a domain that stands still this long is stuck.
STUCK_US = 60_000_000
# So many impossible readings within this long are no glitch: what a meter shows between them may be as wrong.
JUMPS = 5
JUMPS_US = 60_000_000
WHOLLY_OFF_PPM = 1_000_000
_NEVER_STILL = ("node", "psys", "module", "cpu")


@dataclass(slots=True)
class Health:
    """Compare one domain's state with what was last said of it."""

    name: str
    domain: str
    counter: EnergyCounter | HeldPower | PowerIntegral
    error: str = ""
    fix: str = ""
    suspicion: str = ""
    off_ppm: int = 0
    suspicion_fix: str = ""
    _dropped: int = 0
    # When the last impossible readings came, and what was said of them while they go on coming.
    _jumped_us: deque[int] = field(default_factory=lambda: deque(maxlen=JUMPS))
    _jumps: Finding | None = None
    _said: Finding = field(init=False)

    def __post_init__(self) -> None:
        self._said = Finding(self.name, WORKING)
        self._dropped = self.counter.dropped

    def finding(self) -> tuple[Finding, ...]:
        """Return the finding if it changed since the last call."""
        counter = self.counter
        if (
            self._said.state == WORKING
            and counter.dropped == self._dropped
            and not (counter.missing or self.suspicion)
            and counter.now_us - counter.changed_us < STUCK_US
        ):
            return ()
        found = self._judge()
        if found == self._said:
            return ()
        self._said = found
        return (found,)

    def _judge(self) -> Finding:
        counter = self.counter
        has_jumped = counter.dropped > self._dropped
        if has_jumped:
            self._dropped = counter.dropped
            self._jumped_us.append(counter.now_us)
        if (jumps := self._judge_jumps(counter.now_us)) is not None:
            return jumps
        if has_jumped:
            return Finding(self.name, SUSPECT, f"dropped: {counter.reason}")
        if counter.missing:
            return Finding(
                self.name, UNREADABLE, self.error or "no believable reading", self.fix or FIX_DEVICE
            )
        if self.suspicion:
            return Finding(self.name, SUSPECT, self.suspicion, self.suspicion_fix, off_ppm=self.off_ppm)
        still_us = counter.now_us - counter.changed_us
        if (
            isinstance(counter, EnergyCounter)
            and still_us >= STUCK_US
            and self.domain.split(".")[0] in _NEVER_STILL
        ):
            counter.give_up()
            reason = f"stuck: no change for {STUCK_US // 1_000_000} s or more"
            return Finding(self.name, SUSPECT, reason, off_ppm=WHOLLY_OFF_PPM)
        return Finding(self.name, WORKING)

    def _judge_jumps(self, now_us: int) -> Finding | None:
        """Return what is to be said of impossible readings that come again and again, until they stop."""
        jumped = self._jumped_us
        if self._jumps is not None:
            if now_us - jumped[-1] >= JUMPS_US:
                self._jumps = None
                jumped.clear()
        elif len(jumped) == JUMPS and now_us - jumped[0] < JUMPS_US:
            many = f"jumps: {JUMPS} impossible readings within {JUMPS_US // 1_000_000} s"
            self._jumps = Finding(
                self.name, SUSPECT, f"{many}, {self.counter.reason}", off_ppm=WHOLLY_OFF_PPM
            )
        return self._jumps
