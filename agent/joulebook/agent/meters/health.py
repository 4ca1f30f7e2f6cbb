"""Say how each domain's meter fares, once a change."""

from dataclasses import dataclass, field

from joulebook.agent.meters.counter import EnergyCounter, PowerIntegral
from joulebook.agent.meters.held import HeldPower
from joulebook.agent.source import SUSPECT, UNREADABLE, WORKING, Finding

FIX_PERMISSION = (
    "give the agent CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH), or run it as root"
)
# What runs an agent draws power: a counter of such a domain that stands still this long is stuck.
STUCK_US = 60_000_000
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
        if counter.dropped > self._dropped:
            self._dropped = counter.dropped
            return Finding(self.name, SUSPECT, f"dropped: {counter.reason}")
        if counter.missing:
            return Finding(self.name, UNREADABLE, self.error or "no believable reading", self.fix)
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
